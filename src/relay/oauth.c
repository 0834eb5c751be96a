#include "relay/oauth.h"

#include "base/base64.h"
#include "base/mem.h"
#include "config/secrets.h"
#include "os/file.h"

#include <fcntl.h>
#include <jansson.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- services ---- */

#define MICROSOFT "https://login.microsoftonline.com/%s/oauth2/v2.0/"

static const char *or_else(const char *given, struct slice otherwise)
{
    return given ? given : otherwise.data;
}

static struct slice with_nul(struct arena *arena, const char *format, const char *tenant)
{
    char text[512];
    (void)snprintf(text, sizeof text, format, tenant);
    return slice_of(arena_text(arena, slice_of(text)));
}

bool oauth_has_own_token(const struct config_oauth *oauth)
{
    return oauth->token_file == NULL;
}

void oauth_endpoints(struct arena *arena, const struct config_oauth *oauth, struct oauth_endpoints *ret_endpoints)
{
    struct slice none = SLICE_NONE, token = none, device = none, authorize = none, scope = none;
    const char *tenant = oauth->tenant ? oauth->tenant : "organizations";
    if (oauth->service == CONFIG_SERVICE_M365) {
        token = with_nul(arena, MICROSOFT "token", tenant);
        device = with_nul(arena, MICROSOFT "devicecode", tenant);
        authorize = with_nul(arena, MICROSOFT "authorize", tenant);
        scope = oauth_has_own_token(oauth) ? SLICE("https://outlook.office365.com/.default")
                                           : SLICE("https://outlook.office.com/SMTP.Send offline_access");
    } else if (oauth->service == CONFIG_SERVICE_GOOGLE) {
        token = SLICE("https://oauth2.googleapis.com/token");
        authorize = SLICE("https://accounts.google.com/o/oauth2/v2/auth");
        scope = SLICE("https://mail.google.com/"); /* no device codes are given for it */
    }
    *ret_endpoints = (struct oauth_endpoints){
        or_else(oauth->token_url, token), or_else(oauth->device_url, device), or_else(oauth->authorize_url, authorize),
        or_else(oauth->scope, scope)};
}

/* ---- questions ---- */

static void put_escaped(struct buf *out, const char *text)
{
    for (const char *c = text; *c; c++)
        if ((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || strchr("-._~", *c))
            buf_append_byte(out, *c);
        else
            buf_printf(out, "%%%02X", (unsigned char)*c);
}

void oauth_put_form(struct buf *out, const struct oauth_pair *pairs, size_t count)
{
    bool is_first = true;
    for (size_t i = 0; i < count; i++) {
        if (!pairs[i].value)
            continue;
        if (!is_first)
            buf_append_byte(out, '&');
        is_first = false;
        put_escaped(out, pairs[i].name);
        buf_append_byte(out, '=');
        put_escaped(out, pairs[i].value);
    }
}

char *oauth_challenge(const char *verifier)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    struct buf text = {0};
    (void)SHA256((const unsigned char *)verifier, strlen(verifier), digest);
    base64_encode(slice_make((const char *)digest, sizeof digest), &text);
    for (size_t i = 0; i < text.size; i++)
        text.data[i] = text.data[i] == '+' ? '-' : text.data[i] == '/' ? '_' : text.data[i];
    while (text.size && text.data[text.size - 1] == '=')
        text.size--;
    return buf_take(&text);
}

void oauth_token_body(const struct config_oauth *oauth, const struct oauth_endpoints *endpoints, const char *refresh_token,
                      const char *client_secret, struct buf *out)
{
    const struct oauth_pair pairs[] = {
        {"grant_type", refresh_token ? "refresh_token" : "client_credentials"}, {"refresh_token", refresh_token},
        {"client_id", oauth->client_id}, {"client_secret", client_secret}, {"scope", endpoints->scope},
    };
    oauth_put_form(out, pairs, COUNT_OF(pairs));
}

void oauth_wipe(struct buf *secret)
{
    if (secret->data)
        explicit_bzero(secret->data, secret->capacity);
    buf_finish(secret);
}

/* ---- answers ---- */

static enum oauth_verdict verdict_of(int status, const char *error)
{
    static const struct { const char *error; enum oauth_verdict verdict; } known[] = {
        {"invalid_grant", OAUTH_REFUSED},      {"invalid_client", OAUTH_REFUSED},         {"unauthorized_client", OAUTH_REFUSED},
        {"invalid_scope", OAUTH_REFUSED},      {"unsupported_grant_type", OAUTH_REFUSED}, {"invalid_request", OAUTH_REFUSED},
        {"access_denied", OAUTH_REFUSED},      {"expired_token", OAUTH_REFUSED},          {"interaction_required", OAUTH_REFUSED},
        {"consent_required", OAUTH_REFUSED},   {"authorization_declined", OAUTH_REFUSED}, {"bad_verification_code", OAUTH_REFUSED},
        {"authorization_pending", OAUTH_PENDING}, {"slow_down", OAUTH_SLOWER},
    };
    for (size_t i = 0; error && status / 100 == 4 && i < COUNT_OF(known); i++)
        if (strcmp(known[i].error, error) == 0)
            return known[i].verdict;
    return OAUTH_LATER;
}

static char *copy_of(const json_t *json, const char *key)
{
    const char *text = json_string_value(json_object_get(json, key));
    return text && text[0] && !strpbrk(text, "\r\n\001") ? mem_copy_text(text) : NULL;
}

/* The first line of what the service says, printable. */
static void describe(int status, const json_t *json, struct oauth_answer *answer)
{
    const char *error = json_string_value(json_object_get(json, "error"));
    const char *more = json_string_value(json_object_get(json, "error_description"));
    if (error)
        (void)snprintf(answer->problem, sizeof answer->problem, "%s%s%s", error, more ? ": " : "", more ? more : "");
    else
        (void)snprintf(answer->problem, sizeof answer->problem, "an answer without a token (HTTP %d)", status);
    answer->problem[strcspn(answer->problem, "\r\n")] = '\0';
    for (char *c = answer->problem; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = ' ';
}

void oauth_answer_read(int status, struct slice body, const char *problem, struct oauth_answer *ret_answer)
{
    *ret_answer = (struct oauth_answer){.verdict = OAUTH_LATER, .life_s = 3600};
    if (status == 0) {
        (void)snprintf(ret_answer->problem, sizeof ret_answer->problem, "no answer: %s", problem ? problem : "unknown");
        return;
    }
    json_t *json = json_loadb(body.data, body.size, 0, NULL);
    if (status == 200)
        ret_answer->access_token = copy_of(json, "access_token");
    if (ret_answer->access_token) {
        json_t *life = json_object_get(json, "expires_in");
        int64_t life_s = json_is_string(life) ? atoll(json_string_value(life)) : (int64_t)json_number_value(life);
        ret_answer->verdict = OAUTH_GRANTED;
        ret_answer->refresh_token = copy_of(json, "refresh_token");
        if (life_s > 0)
            ret_answer->life_s = life_s;
    } else {
        ret_answer->verdict = verdict_of(status, json_string_value(json_object_get(json, "error")));
        describe(status, json, ret_answer);
    }
    json_decref(json);
}

void oauth_answer_finish(struct oauth_answer *answer)
{
    secret_free(answer->access_token);
    secret_free(answer->refresh_token);
    *answer = (struct oauth_answer){0};
}

/* ---- the token file (B3) ---- */

static json_t *read_file(const char *path, struct error *error)
{
    struct buf text = {0};
    struct stat is;
    json_t *json = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &is) != 0)
        (void)error_set_errno(error, path);
    else if (is.st_mode & (S_IROTH | S_IWOTH))
        (void)error_set(error, "%s: everybody can read or change this token: chmod 600 it", path);
    else if (!file_read(fd, OAUTH_ANSWER_SIZE_MAX, &text, error))
        (void)error_prefix(error, "%s", path);
    else if (!(json = json_loadb(buf_text(&text), text.size, 0, NULL)))
        (void)error_set(error, "%s: no JSON: `mailroot login` writes it anew", path);
    if (fd >= 0)
        close(fd);
    oauth_wipe(&text);
    return json;
}

char *oauth_token_load(const struct config_oauth *oauth, struct error *error)
{
    json_t *json = read_file(oauth->token_file, error);
    if (!json)
        return NULL;
    const char *client = json_string_value(json_object_get(json, "client_id"));
    char *token = copy_of(json, "refresh_token");
    if (!token) {
        (void)error_set(error, "%s: no refresh_token in it: `mailroot login` writes it anew", oauth->token_file);
    } else if (client && strcmp(client, oauth->client_id) != 0) {
        (void)error_set(error, "%s: its token was given to another oauth_client_id: log in again", oauth->token_file);
        secret_free(token);
        token = NULL;
    }
    json_decref(json);
    return token;
}

static bool publish(const char *path, struct slice text, struct error *error)
{
    const char *name = strrchr(path, '/') + 1; /* it is absolute */
    char *folder = slice_copy(slice_make(path, (size_t)(name - path)));
    int fd = file_open_folder(folder, error);
    bool is_done = fd >= 0 && file_publish(fd, name, text, FILE_SYNC_PRIVATE, error) && file_sync_folder(fd, error);
    if (fd >= 0)
        close(fd);
    free(folder);
    return is_done;
}

bool oauth_token_save(const struct config_oauth *oauth, const char *token, const char *before, bool *ret_is_newer,
                      struct error *error)
{
    char *there = before ? oauth_token_load(oauth, NULL) : NULL;
    *ret_is_newer = there && strcmp(there, before) != 0;
    secret_free(there);
    if (*ret_is_newer)
        return true;
    json_t *json = json_pack("{s:s, s:s}", "refresh_token", token, "client_id", oauth->client_id);
    char *text = json_dumps(json, JSON_INDENT(1));
    bool is_done = text ? publish(oauth->token_file, slice_of(text), error) : error_set(error, "the token is no text");
    secret_free(text);
    json_decref(json);
    return is_done;
}
