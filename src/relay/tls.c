#include "relay/tls.h"

#include "base/buf.h"
#include "base/hash.h"
#include "base/mem.h"

#include <ctype.h>
#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

enum { SESSIONS_MAX = 2000, SESSION_LIFE_S = 3600 };

struct session { char *key; SSL_SESSION *session; UT_hash_handle hh; };

struct tls {
    SSL_CTX *context;
    int oldest;               /* protocol version */
    int key_index;            /* of an SSL's session key, and of this struct in the context */
    struct session *sessions;
};

static const int versions[] = {TLS1_VERSION, TLS1_1_VERSION, TLS1_2_VERSION, TLS1_3_VERSION};

static bool ssl_error(struct error *error, const char *what)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    ERR_clear_error();
    return error_set(error, "%s: %s", what, reason ? reason : "unknown");
}

/* ---- sessions (K3) ---- */

static void session_drop(struct tls *tls, struct session *session)
{
    HASH_DEL(tls->sessions, session);
    SSL_SESSION_free(session->session);
    free(session->key);
    free(session);
}

static void session_drop_all(struct tls *tls)
{
    struct session *session, *next;
    HASH_ITER(hh, tls->sessions, session, next)
        session_drop(tls, session);
}

static char *session_key(const struct tls_policy *policy, const char *address)
{
    struct buf key = {0};
    buf_printf(&key, "%s %s %d %d %d", address, policy->server_name, policy->level, policy->check, policy->is_testing);
    for (size_t i = 0; i < policy->name_count; i++)
        buf_printf(&key, " %s", policy->names[i]);
    for (size_t i = 0; i < policy->tlsa_count; i++) {
        unsigned char digest[SHA256_DIGEST_LENGTH];
        const struct tlsa *tlsa = &policy->tlsa[i];
        (void)SHA256(tlsa->data, tlsa->size, digest);
        buf_printf(&key, " %d%d%d", tlsa->usage, tlsa->selector, tlsa->matching);
        for (size_t k = 0; k < sizeof digest; k++)
            buf_printf(&key, "%02x", digest[k]);
    }
    for (size_t i = 0; policy->fingerprints && i < policy->fingerprints->count; i++)
        buf_printf(&key, " %s", policy->fingerprints->items[i]);
    return buf_take(&key);
}

static struct session *session_find(struct tls *tls, const char *key)
{
    struct session *session;
    HASH_FIND_STR(tls->sessions, key, session);
    return session;
}

static void on_key_free(void *parent, void *data, CRYPTO_EX_DATA *extra, int index, long number, void *arg)
{
    (void)parent;
    (void)extra;
    (void)index;
    (void)number;
    (void)arg;
    free(data);
}

static int on_session(SSL *ssl, SSL_SESSION *given)
{
    struct tls *tls = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    const char *key = SSL_get_ex_data(ssl, tls->key_index);
    if (!key || !SSL_SESSION_is_resumable(given))
        return 0;
    struct session *session = session_find(tls, key);
    if (!session && HASH_COUNT(tls->sessions) >= SESSIONS_MAX)
        session_drop_all(tls);
    if (!session) {
        session = mem_alloc(sizeof *session);
        session->key = mem_copy_text(key);
        HASH_ADD_KEYPTR(hh, tls->sessions, session->key, strlen(session->key), session);
    }
    SSL_SESSION_free(session->session);
    session->session = given;
    return 1; /* kept */
}

/* ---- life ---- */

static bool load_files(SSL_CTX *context, const struct config *config, struct error *error)
{
    const char *ca = config->delivery.tls_ca_file, *certificate = config->delivery.tls_certificate;
    const char *key = config->delivery.tls_key ? config->delivery.tls_key : certificate;
    if (ca ? SSL_CTX_load_verify_file(context, ca) != 1 : SSL_CTX_set_default_verify_paths(context) != 1) {
        (void)ssl_error(error, ca ? ca : "the system's certificates");
        return error_prefix(error, "delivery.tls_ca_file");
    }
    if (!certificate)
        return true;
    if (SSL_CTX_use_certificate_chain_file(context, certificate) != 1) {
        (void)ssl_error(error, certificate);
        return error_prefix(error, "delivery.tls_certificate");
    }
    if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) == 1 && SSL_CTX_check_private_key(context) == 1)
        return true;
    (void)ssl_error(error, key);
    return error_prefix(error, "delivery.tls_key");
}

struct tls *tls_open(const struct config *config, struct error *error)
{
    struct tls *tls = mem_alloc(sizeof *tls);
    tls->oldest = versions[config->delivery.tls_oldest];
    tls->key_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, on_key_free);
    tls->context = SSL_CTX_new(TLS_client_method());
    if (!tls->context || SSL_CTX_dane_enable(tls->context) != 1 || !load_files(tls->context, config, error)) {
        if (!tls->context)
            (void)ssl_error(error, "TLS");
        tls_close(&tls);
        return NULL;
    }
    (void)SSL_CTX_set_app_data(tls->context, tls);
    SSL_CTX_set_verify(tls->context, SSL_VERIFY_NONE, NULL); /* K2 */
    SSL_CTX_set_mode(tls->context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
                                       | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(tls->context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_set_timeout(tls->context, SESSION_LIFE_S);
    SSL_CTX_sess_set_new_cb(tls->context, on_session);
    return tls;
}

void tls_close(struct tls **tls)
{
    if (!*tls)
        return;
    session_drop_all(*tls);
    SSL_CTX_free((*tls)->context);
    free(*tls);
    *tls = NULL;
}

SSL_CTX *tls_context(struct tls *tls)
{
    return tls->context;
}

/* ---- one connection ---- */

static bool set_names(SSL *ssl, const struct tls_policy *policy)
{
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    for (size_t i = 0; i < policy->name_count; i++)
        if (SSL_add1_host(ssl, policy->names[i]) != 1)
            return false;
    return true;
}

static bool set_dane(SSL *ssl, const struct tls_policy *policy)
{
    if (SSL_dane_enable(ssl, policy->server_name) <= 0)
        return false;
    SSL_dane_set_flags(ssl, DANE_FLAG_NO_DANE_EE_NAMECHECKS); /* RFC 7672 3.1.1 */
    for (size_t i = 0; i < policy->tlsa_count; i++) {
        const struct tlsa *tlsa = &policy->tlsa[i];
        if (SSL_dane_tlsa_add(ssl, tlsa->usage, tlsa->selector, tlsa->matching, tlsa->data, tlsa->size) < 0)
            return false;
    }
    return true;
}

bool tls_prepare(struct tls *tls, SSL *ssl, const struct tls_policy *policy, const char *address, struct error *error)
{
    int oldest = policy->level == SMTP_TLS_MUST && tls->oldest < TLS1_2_VERSION ? TLS1_2_VERSION : tls->oldest;
    char *key = session_key(policy, address);
    struct session *session = session_find(tls, key);
    bool is_fine = SSL_set_min_proto_version(ssl, oldest) == 1
                   && (policy->check != TLS_CHECK_DANE || set_dane(ssl, policy)) && set_names(ssl, policy);
    if (oldest < TLS1_2_VERSION)
        SSL_set_security_level(ssl, 0); /* OpenSSL 3 has no older protocols above it */
    if (session) {
        is_fine = is_fine && SSL_set_session(ssl, session->session) == 1;
        session_drop(tls, session); /* tickets are for one use (RFC 8446 C.4) */
    }
    if (!is_fine || SSL_set_ex_data(ssl, tls->key_index, key) != 1) {
        free(key);
        return ssl_error(error, "TLS");
    }
    return true;
}

/* ---- afterwards ---- */

static bool is_listed(const struct tls_policy *policy, const unsigned char digest[SHA256_DIGEST_LENGTH])
{
    for (size_t i = 0; i < policy->fingerprints->count; i++) {
        const char *text = policy->fingerprints->items[i];
        size_t at = 0;
        while (*text && at < 2 * SHA256_DIGEST_LENGTH) {
            int digit = at % 2 ? digest[at / 2] & 15 : digest[at / 2] >> 4;
            if (*text != ':' && tolower((unsigned char)*text) != "0123456789abcdef"[digit])
                break;
            at += *text++ != ':';
        }
        if (at == 2 * SHA256_DIGEST_LENGTH && !*text)
            return true;
    }
    return false;
}

static bool has_fingerprint(const SSL *ssl, const struct tls_policy *policy)
{
    X509 *certificate = SSL_get1_peer_certificate(ssl);
    unsigned char digest[EVP_MAX_MD_SIZE], *key = NULL;
    unsigned size;
    bool is_fine = false;
    if (!certificate)
        return false;
    if (X509_digest(certificate, EVP_sha256(), digest, &size) == 1)
        is_fine = is_listed(policy, digest);
    int key_size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &key);
    if (!is_fine && key_size > 0) {
        (void)SHA256(key, (size_t)key_size, digest);
        is_fine = is_listed(policy, digest);
    }
    OPENSSL_free(key);
    X509_free(certificate);
    return is_fine;
}

bool tls_is_verified(const SSL *ssl, const struct tls_policy *policy)
{
    return policy->check == TLS_CHECK_FINGERPRINT ? has_fingerprint(ssl, policy)
                                                  : SSL_get_verify_result(ssl) == X509_V_OK && policy->name_count > 0;
}

const char *tls_failure_type(const SSL *ssl)
{
    switch (SSL_get_verify_result(ssl)) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return "certificate-expired";
    case X509_V_ERR_HOSTNAME_MISMATCH:
        return "certificate-host-mismatch";
    case X509_V_ERR_DANE_NO_MATCH:
    case X509_V_OK: /* its name was not looked at */
        return "validation-failure";
    default:
        return "certificate-not-trusted";
    }
}

bool tls_verify(struct tls *tls, SSL *ssl, const struct tls_policy *policy, struct error *error)
{
    if (tls_is_verified(ssl, policy))
        return true;
    long result = SSL_get_verify_result(ssl);
    const char *why = policy->check == TLS_CHECK_FINGERPRINT   ? "its fingerprint is none of those configured"
                      : result == X509_V_ERR_DANE_NO_MATCH     ? "no TLSA record matches it"
                      : result == X509_V_ERR_HOSTNAME_MISMATCH ? "it is for another name"
                      : result == X509_V_OK                    ? "its name was not looked at"
                                                               : X509_verify_cert_error_string(result);
    (void)error_set(error, "the server's certificate is not accepted: %s", why);
    if (policy->check == TLS_CHECK_NONE)
        return true;
    const char *key = SSL_get_ex_data(ssl, tls->key_index);
    struct session *session = key ? session_find(tls, key) : NULL;
    if (session)
        session_drop(tls, session); /* K4 */
    (void)SSL_set_ex_data(ssl, tls->key_index, NULL);
    free((char *)(uintptr_t)key);
    return false;
}
