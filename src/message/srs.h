/* srs: the sender rewriting scheme: a forwarder sends with an address of its own that leads bounces back, and proves that it made it.
 *   Mail::SRS's and libsrs2's "guarded" form, so that addresses made by them with the same secret are taken too:
 *
 *   SRS0=HHHH=TT=domain=local@ours             TT: day of making, modulo 1024; HHHH: HMAC-SHA1 of TT, domain, local, 4 of base64
 *   SRS1=HHHH=domain==HHHH=TT=...@ours         of an address that another forwarder made: only ours is added, bounces go to it
 *
 * U1  hash, tag and time are compared in any case: there are relays that change it
 * U2  an address whose hash is wrong, or which is older than max_age_days, is no address
 * U3  a local part over 64 octets (RFC 5321 4.5.3.1.1) is not made: the sender stays as it is
 * VERP: a list's sender for one recipient, from which a bounce tells whom it is about:
 *   LOCAL+RECIPIENT-LOCAL=RECIPIENT-DOMAIN=HHHHHH@DOMAIN, HHHHHH: HMAC-SHA1 of sender and recipient, 6 of base32
 * Pure; results live in the arena. */
#ifndef MR_MESSAGE_SRS_H
#define MR_MESSAGE_SRS_H

#include "base/arena.h"
#include "base/error.h"

#include <stdint.h>

struct srs {
    const struct slice *secrets; /* the first makes, each is believed */
    size_t secret_count;
    struct slice domain;         /* ours */
    int max_age_days;
};

enum srs_result { SRS_NONE, SRS_DONE, SRS_BAD }; /* no such address; BAD: error says why */

/* False: it can't be made (U3), or is ours already. */
bool srs_forward(struct arena *arena, const struct srs *srs, struct slice sender, int64_t now_ms, struct slice *ret_sender);
enum srs_result srs_reverse(struct arena *arena, const struct srs *srs, struct slice address, int64_t now_ms,
                            struct slice *ret_address, struct error *error);
bool verp_encode(struct arena *arena, const struct srs *srs, struct slice sender, struct slice recipient, struct slice *ret_sender);
/* NONE as well when the hash is wrong: LOCAL+anything is an ordinary address. */
enum srs_result verp_decode(struct arena *arena, const struct srs *srs, struct slice address, struct slice *ret_sender,
                            struct slice *ret_recipient);

#endif
