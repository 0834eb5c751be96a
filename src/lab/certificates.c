#include "lab/certificates.h"

#include "base/mem.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

/* By the real clock, which is what OpenSSL goes by: always, or never. */
#define FROM "19700101000000Z"
#define TO "99991231235959Z"
#define PAST "20010101000000Z"

struct certificates { EVP_PKEY *key; X509 *authority; };

static bool add_extension(X509 *certificate, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    bool is_added = extension && X509_add_ext(certificate, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return is_added;
}

/* `issuer` NULL: by itself. */
static X509 *make(const char *name, EVP_PKEY *key, const char *to, X509 *issuer, EVP_PKEY *issuer_key)
{
    X509 *certificate = X509_new();
    X509_NAME *subject = X509_get_subject_name(certificate);
    char names[300];
    (void)snprintf(names, sizeof names, "DNS:%.250s", name);
    bool is_made = X509_set_version(certificate, 2) == 1 && ASN1_INTEGER_set(X509_get_serialNumber(certificate), issuer ? 2 : 1) == 1
                   && ASN1_TIME_set_string_X509(X509_getm_notBefore(certificate), FROM) == 1
                   && ASN1_TIME_set_string_X509(X509_getm_notAfter(certificate), to) == 1
                   && X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0) == 1
                   && X509_set_issuer_name(certificate, issuer ? X509_get_subject_name(issuer) : subject) == 1
                   && X509_set_pubkey(certificate, key) == 1
                   && (issuer ? add_extension(certificate, NID_subject_alt_name, names)
                              : add_extension(certificate, NID_basic_constraints, "critical,CA:TRUE"))
                   && X509_sign(certificate, issuer_key, EVP_sha256()) > 0;
    if (is_made)
        return certificate;
    X509_free(certificate);
    return NULL;
}

struct certificates *certificates_create(struct error *error)
{
    struct certificates *certificates = mem_alloc(sizeof *certificates);
    certificates->key = EVP_EC_gen("P-256");
    certificates->authority = certificates->key ? make("mailroot lab", certificates->key, TO, NULL, certificates->key) : NULL;
    if (!certificates->authority) {
        certificates_destroy(&certificates);
        (void)error_set(error, "a certificate can't be made: %s", ERR_reason_error_string(ERR_get_error()));
    }
    return certificates;
}

void certificates_destroy(struct certificates **certificates)
{
    if (!*certificates)
        return;
    X509_free((*certificates)->authority);
    EVP_PKEY_free((*certificates)->key);
    free(*certificates);
    *certificates = NULL;
}

bool certificates_write(const struct certificates *certificates, const char *path, struct error *error)
{
    FILE *file = fopen(path, "we");
    bool is_written = file && PEM_write_X509(file, certificates->authority) == 1;
    if (file && fclose(file) != 0)
        is_written = false;
    return is_written || error_set_errno(error, path);
}

SSL_CTX *certificates_context(const struct certificates *certificates, const char *host, enum lab_tls tls)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    bool is_own = tls == LAB_TLS_UNKNOWN; /* vouched for by nobody */
    X509 *certificate = key ? make(tls == LAB_TLS_OTHER_NAME ? "www.other.test" : host, key, tls == LAB_TLS_EXPIRED ? PAST : TO,
                                   is_own ? NULL : certificates->authority, is_own ? key : certificates->key)
                            : NULL;
    SSL_CTX *context = certificate ? SSL_CTX_new(TLS_server_method()) : NULL;
    if (context && (SSL_CTX_use_certificate(context, certificate) != 1 || SSL_CTX_use_PrivateKey(context, key) != 1)) {
        SSL_CTX_free(context);
        context = NULL;
    }
    if (context)
        SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    X509_free(certificate);
    EVP_PKEY_free(key);
    return context;
}
