/* body: a message's octets on their way to the wire, a piece at a time.
 *
 * For DATA each line that begins with a dot gets another one, over the pieces' borders too, and the end mark follows the
 * last octet (RFC 5321 4.5.2); for BDAT the octets go as they are (RFC 3030). */
#ifndef MR_RELAY_BODY_H
#define MR_RELAY_BODY_H

#include "base/buf.h"

struct body {
    struct slice rest;      /* not yet given */
    bool is_stuffed;        /* for DATA */
    bool is_inside_line;
    bool is_done;
};

/* Appends the next piece, of about `size_max` octets; body->is_done is set with the last. */
void body_piece(struct body *body, size_t size_max, struct buf *out);

#endif
