/* certificates: what a lab's servers show at STARTTLS: one authority, which the lab's relay believes, and certificates of it that are as
 * good or bad as the scenario says. Keys are made for the run and never leave memory. */
#ifndef MR_LAB_CERTIFICATES_H
#define MR_LAB_CERTIFICATES_H

#include "lab/scenario.h"

#include <openssl/ssl.h>

struct certificates;
MUST_USE struct certificates *certificates_create(struct error *error);
void certificates_destroy(struct certificates **certificates);
/* The authority, for delivery.tls_ca_file. */
MUST_USE bool certificates_write(const struct certificates *certificates, const char *path, struct error *error);
/* A server's context; the caller frees it. NULL on failure. */
SSL_CTX *certificates_context(const struct certificates *certificates, const char *host, enum lab_tls tls);

#endif
