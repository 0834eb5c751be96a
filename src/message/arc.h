/* arc: the chain of those who handled a message and said what they had found.   RFC 8617
 *
 *   arc_read ─> chain ─arc_next: each signature that must be right─ (the caller asks DNS) ─arc_verify─> arc_result
 *   arc_seal: one more set in front
 *
 * C1  a set is ARC-Authentication-Results, ARC-Message-Signature, ARC-Seal of one instance; instances are 1 to N, N at most 50,
 *     each field once; the first seal says cv=none, the others cv=pass. Anything else fails (5.2)
 * C2  what must be right: the newest message signature, and every seal
 * C3  a chain that failed gets one last set with cv=fail, whose seal covers that set alone (5.1.2); after that none
 * C4  we seal with RSA: what many verify is that alone (Ed25519 is allowed by RFC 8463 and read here)
 * Pure, as message/dkim_verify.h is. */
#ifndef MR_MESSAGE_ARC_H
#define MR_MESSAGE_ARC_H

#include "message/dkim_verify.h"

enum { ARC_SETS_MAX = 50 };

struct arc_set {
    const struct header_field *results;
    struct dkim_signature message, seal;
};

struct arc_chain {
    struct arc_set *sets;      /* sets[0] is instance 1 */
    size_t count;
    bool is_broken;            /* C1 */
    const char *reason;        /* of what is broken; static text */
};

void arc_read(struct arena *arena, const struct header *header, int64_t now_ms, struct arc_chain *ret_chain);
/* The signatures that count (C2), by number; NULL behind the last. None for a chain that is broken. */
struct dkim_signature *arc_next(struct arc_chain *chain, size_t number);
void arc_verify(struct arena *arena, struct slice message, const struct header *header, const struct slice *keys,
                size_t key_count, struct arc_chain *chain, struct dkim_signature *signature);
/* NONE: no chain. TEMPERROR is one that can't be judged now. `ret_reason` is NULL with PASS and NONE. */
enum dkim_result arc_result(const struct arc_chain *chain, const char **ret_reason);

struct arc_sealing {
    const struct dkim_key *key;  /* RSA (C4) */
    const char *cv;              /* what we found: "none", "pass" or "fail" */
    struct slice results;        /* our Authentication-Results' value, its authserv-id first */
    int64_t time_ms;
};

/* Appends a set's three fields, which belong in front of the message. Nothing where none can follow (C1, C3). */
MUST_USE bool arc_seal(struct arena *arena, struct slice message, const struct arc_sealing *sealing, struct buf *out,
                       struct error *error);

#endif
