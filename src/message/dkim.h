/* dkim: DKIM signatures over a finished message.   RFC 6376, RFC 8301, RFC 8463 (Ed25519)
 *
 * K1  relaxed/relaxed; the whole body, never l=; SHA-256
 * K2  what readers see is signed and over-signed (each name once more than it occurs), so that nothing of it can be added:
 *     From, Sender, Reply-To, Subject, Date, Message-ID, To, Cc, MIME-Version, Content-Type, Content-Transfer-Encoding,
 *     In-Reply-To, References, List-Unsubscribe, List-Unsubscribe-Post. Other List- fields are signed where they are.
 *     Received, Return-Path and what relays add are never signed
 * K3  a signature counts for a week (x=), as long as any queue may hold the message
 * K4  the body is hashed once for all keys; each key makes a field of its own, for the receiver to choose
 * Pure: the key and the time are arguments. The message is canonical: CRLF line ends, no bare CR or LF. */
#ifndef MR_MESSAGE_DKIM_H
#define MR_MESSAGE_DKIM_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

#include <openssl/evp.h>

enum { DKIM_HASH_SIZE = 32, DKIM_RSA_BITS_MIN = 1024 };

struct dkim_key {
    struct slice domain, selector; /* A-labels */
    EVP_PKEY *key;                 /* RSA or Ed25519 */
    int64_t from_ms;               /* the day from which it signs; for who chooses among keys */
};

/* Appends one DKIM-Signature field a key, each with its line end, to `out`: they belong in front of the message. */
MUST_USE bool dkim_sign(struct arena *arena, struct slice message, const struct dkim_key *keys, size_t count,
                        int64_t time_ms, struct buf *out, struct error *error);

/* For a hop that takes no more than `most` signatures: the message without some of those in front of everything (ours; RSA
 * is kept before Ed25519, which fewer can verify). False, and nothing appended, if there are not more. */
bool dkim_keep(struct slice message, size_t most, struct buf *out);

/* The record's text for a key: "v=DKIM1; k=rsa; p=…" (RFC 6376 3.6.1, RFC 8463 4). */
MUST_USE bool dkim_record(EVP_PKEY *key, struct buf *out, struct error *error);

/* Canonical forms (RFC 6376 3.4), for signing and verifying. `raw` is the whole field, with or without its line end; what is
 * appended has one. */
enum dkim_canon { DKIM_SIMPLE, DKIM_RELAXED };
void dkim_canon_field(enum dkim_canon canon, struct slice raw, struct buf *out);
void dkim_canon_body(enum dkim_canon canon, struct slice body, void (*sink)(void *arg, struct slice bytes), void *arg);

#endif
