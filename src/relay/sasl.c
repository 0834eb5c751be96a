#include "relay/sasl.h"

#include "base/mem.h"

#include <gsasl.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

struct sasl {
    const char *mechanism;
    Gsasl *library;
    Gsasl_session *session;    /* NULL: OAuth */
    bool is_done, is_asked;    /* is_asked: a challenge came */
    char complaint[200];
};

enum need { NEEDS_PASSWORD, NEEDS_TOKEN, NEEDS_CERTIFICATE };

static const struct mechanism { const char *name; enum need need; bool is_server_first; } mechanisms[] = { /* strongest first */
    {"EXTERNAL", NEEDS_CERTIFICATE, false}, {"SCRAM-SHA-256", NEEDS_PASSWORD, false}, {"SCRAM-SHA-1", NEEDS_PASSWORD, false},
    {"CRAM-MD5", NEEDS_PASSWORD, true},     {"OAUTHBEARER", NEEDS_TOKEN, false},      {"XOAUTH2", NEEDS_TOKEN, false},
    {"PLAIN", NEEDS_PASSWORD, false},       {"LOGIN", NEEDS_PASSWORD, true},
};

/* ---- the choice ---- */

static bool is_offered(struct slice offered, const char *name)
{
    while (offered.size)
        if (slice_equals_nocase(slice_cut(&offered, ' '), slice_of(name)))
            return true;
    return false;
}

static bool is_listed(const struct config_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcasecmp(list->items[i], name) == 0)
            return true;
    return false;
}

static bool has_what_it_takes(const struct sasl_identity *identity, enum need need)
{
    return need == NEEDS_PASSWORD ? identity->password != NULL : need == NEEDS_TOKEN ? identity->token != NULL : identity->has_certificate;
}

const char *sasl_choose(struct slice offered, const struct config_list *allowed, const struct sasl_identity *identity)
{
    for (size_t i = 0; i < COUNT_OF(mechanisms); i++) {
        const struct mechanism *mechanism = &mechanisms[i];
        bool is_allowed = is_listed(allowed, mechanism->name)
                          || (allowed->count == 0 && mechanism->need != NEEDS_CERTIFICATE);
        if (is_allowed && has_what_it_takes(identity, mechanism->need) && is_offered(offered, mechanism->name))
            return mechanism->name;
    }
    return NULL;
}

int sasl_strength(const char *mechanism)
{
    for (size_t i = 0; i < COUNT_OF(mechanisms); i++)
        if (strcmp(mechanisms[i].name, mechanism) == 0)
            return (int)(COUNT_OF(mechanisms) - i);
    return 0;
}

/* ---- base64 ---- */

static void put_base64(struct buf *out, struct slice bytes)
{
    char *text = NULL;
    size_t size = 0;
    if (gsasl_base64_to(bytes.data, bytes.size, &text, &size) != GSASL_OK)
        mem_exhausted(bytes.size);
    buf_append(out, slice_make(text, size));
    explicit_bzero(text, size);
    gsasl_free(text);
}

/* ---- OAuth ---- */

/* RFC 5801 4: "," and "=" of a name in the GS2 header. */
static void put_saslname(struct buf *out, const char *name)
{
    for (const char *c = name; *c; c++)
        if (*c == ',' || *c == '=')
            buf_append_text(out, *c == ',' ? "=2C" : "=3D");
        else
            buf_append_byte(out, *c);
}

static void begin_oauth(const struct sasl *sasl, const struct sasl_identity *identity, struct buf *out)
{
    struct buf text = {0};
    if (strcmp(sasl->mechanism, "OAUTHBEARER") == 0) {
        buf_append_text(&text, "n,a=");
        put_saslname(&text, identity->user);
        buf_printf(&text, ",\001host=%s\001port=%d\001auth=Bearer %s\001\001", identity->host, identity->port, identity->token);
    } else {
        buf_printf(&text, "user=%s\001auth=Bearer %s\001\001", identity->user, identity->token);
    }
    put_base64(out, buf_slice(&text));
    explicit_bzero(text.data, text.capacity);
    buf_finish(&text);
}

/* A challenge is JSON that says what is wrong with the token; an answer without meaning brings the refusal (RFC 7628 3.2.3). */
static void complain_oauth(struct sasl *sasl, struct slice challenge, struct buf *out)
{
    char *text = NULL;
    size_t size = 0;
    if (gsasl_base64_from(challenge.data, challenge.size, &text, &size) == GSASL_OK)
        for (size_t i = 0; i < size && i + 1 < sizeof sasl->complaint; i++)
            sasl->complaint[i] = (unsigned char)text[i] < 0x20 || (unsigned char)text[i] > 0x7e ? ' ' : text[i];
    gsasl_free(text);
    sasl->is_done = false;
    if (strcmp(sasl->mechanism, "OAUTHBEARER") == 0)
        put_base64(out, SLICE("\001"));
}

/* ---- libgsasl ---- */

static bool fail(struct error *error, const struct sasl *sasl, int result)
{
    return error_set(error, "%s: %s", sasl->mechanism, gsasl_strerror(result));
}

static bool set_up(struct sasl *sasl, const struct sasl_identity *identity, struct error *error)
{
    int result = gsasl_init(&sasl->library);
    if (result == GSASL_OK)
        result = gsasl_client_start(sasl->library, sasl->mechanism, &sasl->session);
    if (result != GSASL_OK)
        return fail(error, sasl, result);
    const struct { Gsasl_property property; const char *value; } properties[] = {
        {GSASL_SERVICE, "smtp"}, {GSASL_HOSTNAME, identity->host}, {GSASL_AUTHID, identity->user}, {GSASL_PASSWORD, identity->password},
        {GSASL_AUTHZID, strcmp(sasl->mechanism, "EXTERNAL") == 0 ? identity->user : NULL},
    };
    for (size_t i = 0; i < COUNT_OF(properties); i++)
        if (properties[i].value)
            result = gsasl_property_set(sasl->session, properties[i].property, properties[i].value);
    return result == GSASL_OK || fail(error, sasl, result);
}

static bool library_step(struct sasl *sasl, const char *challenge, struct buf *out, struct error *error)
{
    char *answer = NULL;
    int result = gsasl_step64(sasl->session, challenge, &answer);
    if (answer) {
        buf_append_text(out, answer);
        explicit_bzero(answer, strlen(answer));
        gsasl_free(answer);
    }
    sasl->is_done = result == GSASL_OK;
    return result == GSASL_OK || result == GSASL_NEEDS_MORE || fail(error, sasl, result);
}

/* A3: "r=…,s=…,i=4096". */
static bool is_cheap(const struct sasl *sasl, struct slice challenge, struct error *error)
{
    char *text = NULL;
    size_t size = 0;
    bool is_fine = true;
    if (strncmp(sasl->mechanism, "SCRAM-", 6) != 0 || sasl->is_asked
        || gsasl_base64_from(challenge.data, challenge.size, &text, &size) != GSASL_OK)
        return true; /* libgsasl will say what is wrong */
    struct slice rest = slice_make(text, size);
    while (rest.size) {
        uint64_t rounds;
        struct slice part = slice_cut(&rest, ',');
        if (slice_starts(part, SLICE("i=")) && slice_to_u64(slice_from(part, 2), &rounds) && rounds > SCRAM_ROUNDS_MAX)
            is_fine = error_set(error, "%s: the server asks for %llu rounds of hashing, more than %d", sasl->mechanism,
                                (unsigned long long)rounds, SCRAM_ROUNDS_MAX);
    }
    gsasl_free(text);
    return is_fine;
}

/* ---- the exchange ---- */

struct sasl *sasl_begin(const char *mechanism, const struct sasl_identity *identity, struct buf *out, bool *ret_has_first,
                        struct error *error)
{
    struct sasl *sasl = mem_alloc(sizeof *sasl);
    const struct mechanism *known = mechanisms;
    while (strcmp(known->name, mechanism) != 0)
        known++; /* it is sasl_choose()'s */
    sasl->mechanism = known->name;
    *ret_has_first = !known->is_server_first;
    if (known->need == NEEDS_TOKEN) {
        begin_oauth(sasl, identity, out);
        sasl->is_done = true;
    } else if (!set_up(sasl, identity, error) || (*ret_has_first && !library_step(sasl, NULL, out, error))) {
        sasl_end(&sasl);
    }
    return sasl;
}

bool sasl_step(struct sasl *sasl, struct slice challenge, struct buf *out, struct error *error)
{
    if (!sasl->session) {
        complain_oauth(sasl, challenge, out);
        return true;
    }
    if (!is_cheap(sasl, challenge, error))
        return false;
    sasl->is_asked = true;
    char *text = slice_copy(challenge);
    bool is_fine = library_step(sasl, text, out, error);
    free(text);
    return is_fine;
}

bool sasl_is_proved(const struct sasl *sasl) { return sasl->is_done; }

const char *sasl_complaint(const struct sasl *sasl) { return sasl->complaint[0] ? sasl->complaint : NULL; }

void sasl_end(struct sasl **sasl)
{
    struct sasl *s = *sasl;
    if (!s)
        return;
    if (s->session)
        gsasl_finish(s->session);
    if (s->library)
        gsasl_done(s->library);
    free(s);
    *sasl = NULL;
}
