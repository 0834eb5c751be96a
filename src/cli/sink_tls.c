/* The certificate of `mailroot sink`: given, or made for this run. */
#include "cli/sink_server.h"

#include <openssl/err.h>
#include <openssl/x509.h>

static bool tls_error(struct error *error, const char *what)
{
    char text[256];

    ERR_error_string_n(ERR_get_error(), text, sizeof text);
    return error_set(error, "%s: %s", what, text);
}

/* Self-signed, P-256, a day long. */
static X509 *certificate_make(EVP_PKEY *key, const char *name)
{
    X509 *certificate = X509_new();
    X509_NAME *subject = X509_get_subject_name(certificate);

    bool is_made = X509_set_version(certificate, 2) == 1
                   && ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1) == 1
                   && X509_gmtime_adj(X509_getm_notBefore(certificate), -60)
                   && X509_gmtime_adj(X509_getm_notAfter(certificate), 24 * 60 * 60)
                   && X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                                                 (const unsigned char *)name, -1, -1, 0)
                          == 1
                   && X509_set_issuer_name(certificate, subject) == 1
                   && X509_set_pubkey(certificate, key) == 1
                   && X509_sign(certificate, key, EVP_sha256()) > 0;
    if (is_made)
        return certificate;
    X509_free(certificate);
    return NULL;
}

static bool context_use_made(SSL_CTX *context, const char *name)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = key ? certificate_make(key, name) : NULL;
    bool is_used = certificate && SSL_CTX_use_certificate(context, certificate) == 1
                   && SSL_CTX_use_PrivateKey(context, key) == 1;

    X509_free(certificate);
    EVP_PKEY_free(key);
    return is_used;
}

bool sink_server_tls(struct sink_server *server, const char *cert_file, const char *key_file,
                     struct error *error)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());

    if (!context)
        return tls_error(error, "TLS");
    bool is_ready =
        cert_file ? SSL_CTX_use_certificate_chain_file(context, cert_file) == 1
                        && SSL_CTX_use_PrivateKey_file(context, key_file ? key_file : cert_file,
                                                       SSL_FILETYPE_PEM)
                               == 1
                  : context_use_made(context, server->options.host);
    if (!is_ready) {
        tls_error(error, cert_file ? cert_file : "certificate");
        SSL_CTX_free(context);
        return false;
    }
    /* the output buffer may have grown, and so moved, between two tries of one write */
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    server->tls = context;
    server->options.extensions |= SMTP_STARTTLS;
    return true;
}
