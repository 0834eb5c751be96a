#include "web/form_token.h"

#include "base/mem.h"
#include "os/clock.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

enum { TOKEN_AGE_MS = 3600 * 1000, USED_MAX = 16384 };

struct form_tokens {
    unsigned char key[32];
    pthread_mutex_t mutex;           /* used */
    char used[USED_MAX][FORM_STAMP_SIZE]; /* of tokens that sent, a ring */
    size_t used_count;
};

struct form_tokens *form_tokens_create(void)
{
    struct form_tokens *tokens = mem_alloc(sizeof *tokens);
    CHECK(getrandom(tokens->key, sizeof tokens->key, 0) == (ssize_t)sizeof tokens->key);
    pthread_mutex_init(&tokens->mutex, NULL);
    return tokens;
}

void form_tokens_destroy(struct form_tokens **tokens)
{
    if (!*tokens)
        return;
    pthread_mutex_destroy(&(*tokens)->mutex);
    OPENSSL_cleanse((*tokens)->key, sizeof (*tokens)->key);
    free(*tokens);
    *tokens = NULL;
}

static void sign(const struct form_tokens *tokens, const char *stamp, char ret_mac[2 * FORM_MAC_SIZE + 1])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    (void)HMAC(EVP_sha256(), tokens->key, sizeof tokens->key, (const unsigned char *)stamp, FORM_STAMP_SIZE, digest, &size);
    for (size_t i = 0; i < FORM_MAC_SIZE; i++)
        (void)snprintf(ret_mac + 2 * i, 3, "%02x", digest[i]);
}

void form_token_make(const struct form_tokens *tokens, char ret_token[FORM_TOKEN_SIZE + 1])
{
    uint64_t random = 0;
    (void)!getrandom(&random, sizeof random, 0);
    (void)snprintf(ret_token, FORM_STAMP_SIZE + 1, "%012llx%012llx", (unsigned long long)clock_mono_ms(),
                   (unsigned long long)(random & 0xFFFFFFFFFFFFULL));
    sign(tokens, ret_token, ret_token + FORM_STAMP_SIZE);
}

bool form_token_is_signed(const struct form_tokens *tokens, struct slice token, int64_t *ret_age_ms)
{
    char mac[2 * FORM_MAC_SIZE + 1], stamp[13];
    if (token.size != FORM_TOKEN_SIZE)
        return false;
    sign(tokens, token.data, mac);
    (void)snprintf(stamp, sizeof stamp, "%.12s", token.data);
    *ret_age_ms = clock_mono_ms() - (int64_t)strtoull(stamp, NULL, 16);
    return CRYPTO_memcmp(mac, token.data + FORM_STAMP_SIZE, sizeof mac - 1) == 0 && *ret_age_ms >= 0 && *ret_age_ms <= TOKEN_AGE_MS;
}

bool form_token_is_work_done(struct slice token, struct slice number, int bits)
{
    unsigned char digest[EVP_MAX_MD_SIZE] = {0};
    char text[FORM_TOKEN_SIZE + 32];
    int size = snprintf(text, sizeof text, "%.*s:%.*s", SLICE_FMT(token), SLICE_FMT(number));
    if (number.size == 0 || size < 0 || (size_t)size >= sizeof text
        || EVP_Digest(text, (size_t)size, digest, NULL, EVP_sha256(), NULL) != 1)
        return false;
    uint32_t first = (uint32_t)digest[0] << 24 | (uint32_t)digest[1] << 16 | (uint32_t)digest[2] << 8 | digest[3];
    return first >> (32 - bits) == 0;
}

bool form_token_use(struct form_tokens *tokens, struct slice token)
{
    bool is_new = true;
    pthread_mutex_lock(&tokens->mutex);
    size_t count = tokens->used_count < USED_MAX ? tokens->used_count : USED_MAX;
    for (size_t i = 0; i < count && is_new; i++)
        is_new = memcmp(tokens->used[i], token.data, FORM_STAMP_SIZE) != 0;
    if (is_new)
        memcpy(tokens->used[tokens->used_count++ % USED_MAX], token.data, FORM_STAMP_SIZE);
    pthread_mutex_unlock(&tokens->mutex);
    return is_new;
}

void form_token_free(struct form_tokens *tokens, struct slice token)
{
    pthread_mutex_lock(&tokens->mutex);
    for (size_t i = 0; i < USED_MAX; i++)
        if (memcmp(tokens->used[i], token.data, FORM_STAMP_SIZE) == 0)
            memset(tokens->used[i], 0, FORM_STAMP_SIZE);
    pthread_mutex_unlock(&tokens->mutex);
}
