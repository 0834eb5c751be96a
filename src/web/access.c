#include "web/access.h"

#include "base/mem.h"
#include "os/clock.h"
#include "os/file.h"
#include "web/rate.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TOKEN_SIZE = 64, SESSIONS_MAX = 64, SESSION_MS = 12 * 3600 * 1000, WRONG_PER_MINUTE = 10 };

struct session { char id[TOKEN_SIZE + 1]; int64_t until_ms; };

struct access {
    pthread_mutex_t mutex; /* sessions */
    const struct config *config;
    struct rate *wrong;
    char token[TOKEN_SIZE + 1];
    struct session sessions[SESSIONS_MAX];
};

static void put_hex(const unsigned char *octets, size_t size, char *ret_text)
{
    for (size_t i = 0; i < size; i++)
        (void)snprintf(ret_text + 2 * i, 3, "%02x", octets[i]);
}

static bool make_random(char ret_text[TOKEN_SIZE + 1])
{
    unsigned char octets[TOKEN_SIZE / 2];
    if (getrandom(octets, sizeof octets, 0) != (ssize_t)sizeof octets)
        return false;
    put_hex(octets, sizeof octets, ret_text);
    return true;
}

static bool make_token(const char *path, char ret_token[TOKEN_SIZE + 1], struct error *error)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set_errno(error, path);
    bool is_made = (make_random(ret_token) || error_set(error, "no random octets"))
                   && file_write_all(fd, slice_make(ret_token, TOKEN_SIZE), error) && file_write_all(fd, SLICE("\n"), error)
                   && (fsync(fd) == 0 || error_set_errno(error, path));
    close(fd);
    if (!is_made)
        (void)unlink(path);
    return is_made;
}

static bool read_token(const char *path, char ret_token[TOKEN_SIZE + 1], struct error *error)
{
    struct buf text = {0};
    struct stat is;
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? make_token(path, ret_token, error) : error_set_errno(error, path);
    bool is_read = file_read(fd, 4096, &text, error);
    struct slice token = slice_trim(buf_slice(&text));
    if (is_read && (fstat(fd, &is) != 0 || (is.st_mode & 077)))
        is_read = error_set(error, "%s: others may read it: chmod 600 it", path);
    if (is_read && token.size != TOKEN_SIZE)
        is_read = error_set(error, "%s: 64 hex digits were expected; remove it to have a new token made", path);
    if (is_read)
        (void)snprintf(ret_token, TOKEN_SIZE + 1, "%.*s", SLICE_FMT(token));
    buf_finish(&text);
    close(fd);
    return is_read;
}

bool access_open(const struct config *config, struct access **ret_access, struct error *error)
{
    struct access *access = mem_alloc(sizeof *access);
    access->config = config;
    access->wrong = rate_create(WRONG_PER_MINUTE);
    pthread_mutex_init(&access->mutex, NULL);
    *ret_access = access;
    if (read_token(config->web.token_file, access->token, error))
        return true;
    access_close(ret_access);
    return false;
}

void access_close(struct access **access)
{
    if (!*access)
        return;
    rate_destroy(&(*access)->wrong);
    pthread_mutex_destroy(&(*access)->mutex);
    OPENSSL_cleanse((*access)->token, sizeof (*access)->token);
    free(*access);
    *access = NULL;
}

/* ---- tokens ---- */

static bool is_token(const struct access *access, struct slice given)
{
    return given.size == TOKEN_SIZE && CRYPTO_memcmp(given.data, access->token, TOKEN_SIZE) == 0;
}

static unsigned scopes_of(struct slice words)
{
    unsigned scopes = 0;
    while (words.size) {
        struct slice word = slice_cut(&words, '+');
        scopes |= slice_equals(word, SLICE("read")) ? SCOPE_READ : slice_equals(word, SLICE("send")) ? SCOPE_SEND : SCOPE_MANAGE;
    }
    return scopes;
}

static unsigned bearer_scopes(const struct access *access, struct slice token)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    char hash[TOKEN_SIZE + 1];
    unsigned scopes = 0;
    if (is_token(access, token))
        return SCOPE_ALL;
    SHA256((const unsigned char *)token.data, token.size, digest);
    put_hex(digest, sizeof digest, hash);
    for (size_t i = 0; i < access->config->web.tokens.count; i++) {
        struct slice rest = slice_of(access->config->web.tokens.items[i]);
        (void)slice_cut(&rest, ':');
        struct slice words = slice_cut(&rest, ':');
        if (rest.size == TOKEN_SIZE && CRYPTO_memcmp(rest.data, hash, TOKEN_SIZE) == 0)
            scopes = scopes_of(words);
    }
    return scopes;
}

/* ---- sessions ---- */

static struct slice cookie_of(const struct request *request)
{
    struct slice rest = request_header(request, "Cookie");
    while (rest.size) {
        struct slice one = slice_trim(slice_cut(&rest, ';'));
        if (slice_starts(one, SLICE("mailroot=")))
            return slice_from(one, 9);
    }
    return SLICE_NONE;
}

static struct session *session_find(struct access *access, struct slice id)
{
    struct session *found = NULL;
    for (size_t i = 0; i < SESSIONS_MAX; i++) {
        struct session *session = &access->sessions[i];
        if (id.size == TOKEN_SIZE && session->until_ms > clock_mono_ms() && CRYPTO_memcmp(id.data, session->id, TOKEN_SIZE) == 0)
            found = session;
    }
    return found;
}

static bool shows_our_page(const struct request *request)
{
    return slice_equals(request_header(request, "X-Mailroot"), SLICE("1")) && request_is_own_origin(request);
}

unsigned access_of(struct access *access, const struct request *request, bool is_change)
{
    struct slice given = request_header(request, "Authorization");
    if (slice_starts_nocase(given, SLICE("Bearer "))) {
        unsigned scopes = bearer_scopes(access, slice_trim(slice_from(given, 7)));
        if (scopes == 0)
            (void)rate_take(access->wrong, request->address, clock_mono_ms());
        return scopes;
    }
    pthread_mutex_lock(&access->mutex);
    bool is_known = session_find(access, cookie_of(request)) != NULL;
    pthread_mutex_unlock(&access->mutex);
    return is_known && (!is_change || shows_our_page(request)) ? SCOPE_ALL : 0;
}

bool access_login(struct access *access, const struct request *request, struct slice token, struct buf *cookie,
                  bool *ret_is_too_often)
{
    char id[TOKEN_SIZE + 1];
    *ret_is_too_often = !rate_take(access->wrong, request->address, clock_mono_ms());
    if (*ret_is_too_often || !is_token(access, slice_trim(token)) || !make_random(id))
        return false;
    pthread_mutex_lock(&access->mutex);
    struct session *oldest = &access->sessions[0];
    for (size_t i = 0; i < SESSIONS_MAX; i++)
        if (access->sessions[i].until_ms < oldest->until_ms)
            oldest = &access->sessions[i];
    memcpy(oldest->id, id, sizeof id);
    oldest->until_ms = clock_mono_ms() + SESSION_MS;
    pthread_mutex_unlock(&access->mutex);
    buf_printf(cookie, "mailroot=%s; Path=/; HttpOnly; SameSite=Strict; Max-Age=%d%s", id, SESSION_MS / 1000,
               request->config->web.certificate ? "; Secure" : "");
    return true;
}

void access_logout(struct access *access, const struct request *request, struct buf *cookie)
{
    pthread_mutex_lock(&access->mutex);
    struct session *session = session_find(access, cookie_of(request));
    if (session)
        session->until_ms = 0;
    pthread_mutex_unlock(&access->mutex);
    buf_append_text(cookie, "mailroot=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
}
