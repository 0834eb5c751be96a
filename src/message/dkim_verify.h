/* dkim_verify: whether a DKIM signature, or one of ARC's two, is right.   RFC 6376 6, 8301, 8463, 8616, 8617 4.1, 5.2
 *
 *   field ─dkim_read─> signature ─dkim_key_name─> (the caller asks DNS) ─dkim_verify─> result and reason
 *
 * V1  what can't be read, or breaks a rule of the syntax, is PERMERROR; a hash or a signature that doesn't fit, FAIL
 * V2  rsa-sha1 is PERMERROR, and so is an RSA key under 1024 bits (RFC 8301 3)
 * V3  l= that leaves octets of the body unsigned sets is_partial: whatever was appended would pass too (RFC 6376 8.2). The
 *     caller decides; a signature with is_partial should count for nothing but the record
 * V4  several keys under one name: the first that fits counts
 * V5  limits: DKIM_SIGNATURES_MAX signatures of a message are looked at, DKIM_NAMES_MAX names in h=
 * V6  international d=, s= and i= are A-labels afterwards (RFC 8616 5)
 * Pure: keys and the time are arguments. The message is canonical: CRLF line ends. Slices live in the arena or the message. */
#ifndef MR_MESSAGE_DKIM_VERIFY_H
#define MR_MESSAGE_DKIM_VERIFY_H

#include "message/dkim.h"
#include "message/header.h"

enum { DKIM_SIGNATURES_MAX = 5, DKIM_NAMES_MAX = 500, DKIM_KEY_NAME_SIZE = 512 };
enum dkim_kind { DKIM_SIGNATURE, DKIM_ARC_MESSAGE, DKIM_ARC_SEAL };
enum dkim_result { DKIM_NONE, DKIM_PASS, DKIM_FAIL, DKIM_TEMPERROR, DKIM_PERMERROR };

struct dkim_signature {
    const struct header_field *field;
    enum dkim_kind kind;
    enum dkim_result result;   /* NONE until it is decided */
    const char *reason;        /* static text; NULL with PASS */
    struct slice domain, selector, identity; /* identity: of i=, its domain in A-labels; absent for ARC */
    struct slice names;        /* h= */
    struct slice body_hash, bytes; /* decoded */
    struct slice bytes_text;   /* b= as written, without blanks */
    enum dkim_canon header_canon, body_canon;
    bool is_rsa, has_length, is_partial, is_testing;
    uint64_t length;
    unsigned instance;         /* i= of ARC */
    struct slice cv;           /* of a seal */
    int key_bits;              /* of the key that fitted */
};

/* False when the result is decided by the field alone. */
bool dkim_read(struct arena *arena, const struct header_field *field, enum dkim_kind kind, int64_t now_ms,
               struct dkim_signature *ret_signature);
/* Where its key stands: "selector._domainkey.domain". */
void dkim_key_name(const struct dkim_signature *signature, char ret_name[DKIM_KEY_NAME_SIZE]);
/* `keys`: the TXT records there, each in one piece. Decides the result; not for seals. */
void dkim_verify(struct arena *arena, struct slice message, const struct header *header, const struct slice *keys,
                 size_t key_count, struct dkim_signature *signature);
/* The same for `bytes`, what was signed: a seal's. */
void dkim_verify_bytes(struct arena *arena, struct slice bytes, const struct slice *keys, size_t key_count,
                       struct dkim_signature *signature);
/* The signature's field in canonical form with an empty b=, without its line end (RFC 6376 3.7). */
void dkim_canon_unsigned(enum dkim_canon canon, struct slice raw, struct buf *out);

const char *dkim_result_name(enum dkim_result result);

#endif
