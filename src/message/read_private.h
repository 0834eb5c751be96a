/* read_decode.c: what encodes octets in a message, undone. All append to `out` what they can and skip what they can't. */
#ifndef MR_MESSAGE_READ_PRIVATE_H
#define MR_MESSAGE_READ_PRIVATE_H

#include "base/buf.h"
#include "message/read.h"

void read_base64(struct slice bytes, struct buf *out);
void read_quoted_printable(struct slice bytes, bool is_word, struct buf *out); /* is_word: RFC 2047's Q */
void read_uuencoded(struct slice bytes, struct buf *out);
/* Of an unfolded Content-Type or Content-Disposition; absent if it isn't there. */
struct slice read_parameter(struct arena *arena, struct slice unfolded, struct slice name);

#endif
