/* What DKIM's signer and ARC's share. */
#ifndef MR_MESSAGE_DKIM_PRIVATE_H
#define MR_MESSAGE_DKIM_PRIVATE_H

#include "message/dkim.h"
#include "message/header.h"

struct dkim_signing {
    struct header header;
    struct slice names;          /* h=, in the order of hashing */
    struct slice fields;         /* the canonical fields of h=, one after the other */
    char body_hash[48];          /* base64 */
    int64_t time_s;
    unsigned instance;           /* of an ARC-Message-Signature; 0: a DKIM-Signature */
};

/* All of it but the instance, which is set before. */
MUST_USE bool dkim_prepare(struct arena *arena, struct slice message, int64_t time_ms, struct dkim_signing *signing,
                           struct error *error);
/* Appends the field. */
MUST_USE bool dkim_sign_prepared(struct arena *arena, const struct dkim_signing *signing, const struct dkim_key *key,
                                 struct buf *out, struct error *error);
MUST_USE bool dkim_sign_bytes(struct arena *arena, EVP_PKEY *key, struct slice bytes, struct slice *ret_signature,
                              struct error *error);
void dkim_put_base64(struct slice bytes, struct arena *arena, struct buf *out); /* folded */

#endif
