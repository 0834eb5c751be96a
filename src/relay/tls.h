/* tls: OpenSSL as a policy (route/tls_policy.h) wants it: what to offer, what to verify, which sessions to resume.
 *
 * K1  whatever a policy demands is TLS 1.2 or newer; delivery.tls_oldest counts where nothing demands anything
 * K2  the handshake is always led to its end; tls_verify() then says whether the peer is who it should be, and nothing but the
 *     handshake has been sent until then
 * K3  a session is resumed only at the same address under the same policy: same names, same TLSA, same fingerprints
 * K4  a session of a peer that did not pass is not resumed
 * All calls from the loop's thread. */
#ifndef MR_RELAY_TLS_H
#define MR_RELAY_TLS_H

#include "route/tls_policy.h"

#include <openssl/ssl.h>

struct tls;
/* Reads the config's files: before privileges are dropped the key may be root's alone. */
MUST_USE struct tls *tls_open(const struct config *config, struct error *error);
void tls_close(struct tls **tls);
SSL_CTX *tls_context(struct tls *tls);
/* Before the handshake. `address` is the peer's, with its port. */
MUST_USE bool tls_prepare(struct tls *tls, SSL *ssl, const struct tls_policy *policy, const char *address,
                          struct error *error);
/* After it. Without a check in the policy it is true whatever the certificate is; `error` says what is wrong with it. */
bool tls_verify(struct tls *tls, SSL *ssl, const struct tls_policy *policy, struct error *error);
/* RFC 8460 4.3 of a certificate that did not pass. */
const char *tls_failure_type(const SSL *ssl);
/* Whether the certificate passed: for words and reports. */
bool tls_is_verified(const SSL *ssl, const struct tls_policy *policy);

#endif
