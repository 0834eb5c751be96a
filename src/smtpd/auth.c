#include "smtpd/auth.h"

#include "base/base64.h"
#include "base/mem.h"
#include "os/file.h"
#include "smtpd/pam.h"

#include <crypt.h>
#include <fcntl.h>
#include <gsasl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { FILE_SIZE_MAX = 16 << 20, KEY_SIZE = 32, SALT_SIZE_MAX = 64, NAME_SIZE_MAX = 200 };

struct user {
    char *name;
    char *hash;               /* crypt's; NULL if it is SCRAM */
    char *salt, *stored, *server; /* SCRAM: base64, as libgsasl takes them */
    unsigned iterations;
};

struct auth {
    Gsasl *gsasl;
    struct user *users;
    size_t count;
    bool has_crypt;
    int pam_fd;               /* -1: none */
    unsigned char secret[KEY_SIZE]; /* of the users' file: makes what an unknown user seems to have */
};

struct auth_session {
    const struct auth *auth;
    Gsasl_session *sasl;
    char client[64];
    bool is_unanswered;       /* PAM did not say */
    bool is_proved;           /* only the client's empty answer to our last word is missing */
};

/* ---- the users' file ---- */

/* 0: no base64, or too much. */
static size_t decode(const char *text, unsigned char *out, size_t size_max)
{
    struct buf whole = {0};
    bool is_fine = base64_decode(slice_of(text), &whole) && whole.size <= size_max;
    size_t count = is_fine ? whole.size : 0;
    if (count)
        memcpy(out, whole.data, count);
    if (whole.size)
        OPENSSL_cleanse(whole.data, whole.size);
    buf_finish(&whole);
    return count;
}

static bool scram_parse(struct slice text, struct user *user)
{
    unsigned char key[SALT_SIZE_MAX];
    uint64_t iterations;
    if (!slice_to_u64(slice_cut(&text, ','), &iterations) || iterations < 1 || iterations > 10000000)
        return false;
    user->iterations = (unsigned)iterations;
    user->salt = slice_copy(slice_cut(&text, ','));
    user->stored = slice_copy(slice_cut(&text, ','));
    user->server = slice_copy(text);
    return decode(user->salt, key, SALT_SIZE_MAX) && decode(user->stored, key, KEY_SIZE) == KEY_SIZE
           && decode(user->server, key, KEY_SIZE) == KEY_SIZE;
}

static bool add_line(struct auth *auth, struct slice line, size_t number, struct error *error)
{
    static const struct slice scram = {"{SCRAM-SHA-256}", 15};
    struct slice hash = slice_trim(line);
    if (hash.size == 0 || hash.data[0] == '#')
        return true;
    struct slice name = slice_cut(&hash, ':');
    if (name.size == 0 || name.size > NAME_SIZE_MAX || hash.size == 0)
        return error_set(error, "line %zu: NAME:HASH was expected", number);
    auth->users = mem_resize(auth->users, (auth->count + 1) * sizeof *auth->users);
    struct user *user = &auth->users[auth->count++];
    *user = (struct user){.name = slice_copy(name)};
    if (slice_starts(hash, scram))
        return scram_parse(slice_from(hash, scram.size), user)
               || error_set(error, "line %zu: {SCRAM-SHA-256}iterations,salt,storedkey,serverkey was expected", number);
    user->hash = slice_copy(hash);
    auth->has_crypt = true;
    return crypt_checksalt(user->hash) == CRYPT_SALT_OK || crypt_checksalt(user->hash) == CRYPT_SALT_METHOD_LEGACY
           || error_set(error, "line %zu: that is no hash of crypt(3)", number);
}

static bool read_users(struct auth *auth, const char *file, struct error *error)
{
    struct buf text = {0};
    size_t number = 0;
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    bool is_done = (fd >= 0 || error_set_errno(error, "open")) && file_read(fd, FILE_SIZE_MAX, &text, error);
    for (struct slice rest = buf_slice(&text); is_done && rest.size;)
        is_done = add_line(auth, slice_cut(&rest, '\n'), ++number, error);
    if (fd >= 0)
        close(fd);
    (void)EVP_Digest(text.data, text.size, auth->secret, NULL, EVP_sha256(), NULL);
    if (text.size)
        OPENSSL_cleanse(text.data, text.size);
    buf_finish(&text);
    return (is_done && (auth->count || auth->pam_fd >= 0)) || (is_done ? error_set(error, "smtp.users: %s: no user in it", file)
                                                : error_prefix(error, "smtp.users: %s", file));
}

static const struct user *user_find(const struct auth *auth, const char *name)
{
    for (size_t i = 0; name && i < auth->count; i++)
        if (strcmp(auth->users[i].name, name) == 0)
            return &auth->users[i];
    return NULL;
}

/* L2: what is said of a name without a user. The same for as long as the users' file is, and of no use to guess from. */
static void fake_digest(const struct auth *auth, const char *name, unsigned char ret_digest[KEY_SIZE])
{
    unsigned size = KEY_SIZE;
    (void)HMAC(EVP_sha256(), auth->secret, KEY_SIZE, (const unsigned char *)name, strlen(name), ret_digest, &size);
}

/* Whose hash, and whose costs, stand in for a name without a user: always the same one's, and any of them. */
static const struct user *user_like(const struct auth *auth, const char *name)
{
    unsigned char digest[KEY_SIZE];
    uint32_t number;
    fake_digest(auth, name ? name : "", digest);
    memcpy(&number, digest, sizeof number);
    return &auth->users[number % auth->count];
}

/* ---- a password against a hash ---- */

static bool is_crypt(const struct user *user, const char *password)
{
    struct crypt_data *data = mem_alloc(sizeof *data);
    const char *made = crypt_r(password, user->hash, data);
    size_t size = strlen(user->hash);
    bool is_same = made && strlen(made) == size && CRYPTO_memcmp(made, user->hash, size) == 0;
    OPENSSL_cleanse(data, sizeof *data);
    free(data);
    return is_same;
}

static bool is_scram(const struct user *user, const char *password)
{
    char salted[KEY_SIZE], client[KEY_SIZE], server[KEY_SIZE], stored[KEY_SIZE];
    unsigned char salt[SALT_SIZE_MAX], wanted[KEY_SIZE];
    size_t salt_size = decode(user->salt, salt, sizeof salt);
    bool is_same = decode(user->stored, wanted, sizeof wanted) == KEY_SIZE
                   && gsasl_scram_secrets_from_password(GSASL_HASH_SHA256, password, user->iterations, (char *)salt,
                                                        salt_size, salted, client, server, stored)
                          == GSASL_OK
                   && CRYPTO_memcmp(stored, wanted, KEY_SIZE) == 0;
    OPENSSL_cleanse(salted, sizeof salted);
    OPENSSL_cleanse(client, sizeof client);
    return is_same;
}

static bool is_pam(const struct auth *auth, Gsasl_session *sasl, const char *name, const char *password)
{
    struct auth_session *session = gsasl_session_hook_get(sasl);
    for (const char *c = name; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return false;
    if (!name[0])
        return false;
    enum pam_verdict verdict = pam_ask(auth->pam_fd, name, password, session->client);
    session->is_unanswered = verdict == PAM_NO_ANSWER;
    return verdict == PAM_PASSED;
}

static bool check_password(const struct auth *auth, Gsasl_session *sasl)
{
    const char *name = gsasl_property_fast(sasl, GSASL_AUTHID);
    const char *identity = gsasl_property_fast(sasl, GSASL_AUTHZID);
    const char *password = gsasl_property_fast(sasl, GSASL_PASSWORD);
    const struct user *known = user_find(auth, name);
    if (!known && auth->pam_fd >= 0)
        return name && password && (!identity || !identity[0] || strcmp(identity, name) == 0) && is_pam(auth, sasl, name, password);
    const struct user *user = known ? known : user_like(auth, name); /* L2 */
    bool is_right = password && (user->hash ? is_crypt(user, password) : is_scram(user, password));
    return known && is_right && (!identity || !identity[0] || strcmp(identity, name) == 0);
}

/* An unknown user's salt is as long as that of whom it is like, and of its own; its keys nobody has. */
static int give_scram(const struct auth *auth, Gsasl_session *sasl)
{
    const char *name = gsasl_property_fast(sasl, GSASL_AUTHID);
    const struct user *user = user_find(auth, name);
    const struct user *like = user ? user : user_like(auth, name);
    unsigned char digest[KEY_SIZE], salt[SALT_SIZE_MAX];
    char fake[2 * SALT_SIZE_MAX], iterations[16];
    size_t size = decode(like->salt, salt, sizeof salt);
    fake_digest(auth, name ? name : "", digest);
    for (size_t i = 0; i < size; i++)
        salt[i] = digest[i % KEY_SIZE];
    (void)EVP_EncodeBlock((unsigned char *)fake, salt, (int)size);
    (void)snprintf(iterations, sizeof iterations, "%u", like->iterations);
    gsasl_property_set(sasl, GSASL_SCRAM_ITER, iterations);
    gsasl_property_set(sasl, GSASL_SCRAM_SALT, user ? user->salt : fake);
    gsasl_property_set(sasl, GSASL_SCRAM_STOREDKEY, user ? user->stored : like->server);
    gsasl_property_set(sasl, GSASL_SCRAM_SERVERKEY, user ? user->server : like->stored);
    return GSASL_OK;
}

static int on_property(Gsasl *gsasl, Gsasl_session *sasl, Gsasl_property property)
{
    const struct auth *auth = gsasl_callback_hook_get(gsasl);
    switch (property) {
    case GSASL_VALIDATE_SIMPLE:
        return check_password(auth, sasl) ? GSASL_OK : GSASL_AUTHENTICATION_ERROR;
    case GSASL_SCRAM_ITER:
    case GSASL_SCRAM_SALT:
    case GSASL_SCRAM_STOREDKEY:
    case GSASL_SCRAM_SERVERKEY:
        return give_scram(auth, sasl);
    default:
        return GSASL_NO_CALLBACK;
    }
}

/* ---- the module ---- */

struct auth *auth_open(const char *file, int pam_fd, struct error *error)
{
    struct auth *auth = mem_alloc(sizeof *auth);
    auth->pam_fd = pam_fd;
    bool is_done = !file || read_users(auth, file, error);
    if (is_done && gsasl_init(&auth->gsasl) != GSASL_OK)
        is_done = error_set(error, "SASL can't be started");
    if (!is_done) {
        auth_close(&auth);
        return NULL;
    }
    gsasl_callback_set(auth->gsasl, on_property);
    gsasl_callback_hook_set(auth->gsasl, auth);
    return auth;
}

void auth_close(struct auth **auth)
{
    struct auth *a = *auth;
    if (!a)
        return;
    for (size_t i = 0; i < a->count; i++) {
        char *texts[] = {a->users[i].name, a->users[i].hash, a->users[i].salt, a->users[i].stored, a->users[i].server};
        for (size_t k = 0; k < COUNT_OF(texts); k++)
            free(texts[k]);
    }
    if (a->gsasl)
        gsasl_done(a->gsasl);
    free(a->users);
    free(a);
    *auth = NULL;
}

const char *auth_mechanisms(const struct auth *auth)
{
    return auth->has_crypt || auth->pam_fd >= 0 ? "PLAIN LOGIN" : "SCRAM-SHA-256 PLAIN LOGIN";
}

struct auth_session *auth_begin(const struct auth *auth, struct slice mechanism, const char *client)
{
    struct auth_session *session = mem_alloc(sizeof *session);
    char name[32];
    (void)snprintf(name, sizeof name, "%.*s", SLICE_FMT(mechanism));
    for (char *c = name; *c; c++)
        if (*c >= 'a' && *c <= 'z')
            *c = (char)(*c - 32);
    session->auth = auth;
    (void)snprintf(session->client, sizeof session->client, "%s", client);
    if (gsasl_server_start(auth->gsasl, name, &session->sasl) != GSASL_OK)
        session->sasl = NULL;
    if (session->sasl)
        gsasl_session_hook_set(session->sasl, session);
    return session;
}

static enum server_verdict passed(struct auth_session *session, struct buf *out)
{
    const char *name = gsasl_property_fast(session->sasl, GSASL_AUTHID);
    const char *identity = gsasl_property_fast(session->sasl, GSASL_AUTHZID);
    if (!name || (identity && identity[0] && strcmp(identity, name) != 0)) /* L3 */
        return AUTH_REFUSED;
    buf_clear(out);
    buf_append_text(out, name);
    return AUTH_PASSED;
}

enum server_verdict auth_step(struct auth_session *session, struct slice response, struct buf *out)
{
    char *answer = NULL;
    if (!session->sasl)
        return AUTH_BUSY;
    if (session->is_proved)
        return response.size == 0 ? passed(session, out) : AUTH_REFUSED;
    char *text = slice_is_absent(response) ? NULL : slice_copy(response);
    int result = gsasl_step64(session->sasl, text, &answer);
    if (text)
        OPENSSL_cleanse(text, response.size);
    free(text);
    buf_clear(out);
    if (answer)
        buf_append_text(out, answer);
    gsasl_free(answer);
    if (result == GSASL_NEEDS_MORE)
        return AUTH_CHALLENGE;
    if (result == GSASL_BASE64_ERROR || result == GSASL_MECHANISM_PARSE_ERROR)
        return AUTH_MALFORMED;
    if (result != GSASL_OK)
        return session->is_unanswered ? AUTH_BUSY : AUTH_REFUSED;
    if (out->size == 0)
        return passed(session, out);
    session->is_proved = true; /* RFC 4954 4: our last word goes as a challenge */
    return AUTH_CHALLENGE;
}

void auth_end(struct auth_session **session)
{
    if (!*session)
        return;
    if ((*session)->sasl)
        gsasl_finish((*session)->sasl);
    free(*session);
    *session = NULL;
}
