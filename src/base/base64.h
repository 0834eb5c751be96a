/* base64: RFC 4648 4, without line ends.
 * Not here: the tolerant reading of mail (message/read_decode.c). */
#ifndef MR_BASE_BASE64_H
#define MR_BASE_BASE64_H

#include "base/buf.h"

void base64_encode(struct slice bytes, struct buf *out);
/* Strict: whole groups of four, padding at the end alone. False: nothing was appended. */
int base64_value(char c); /* 0 to 63; -1: no digit */
MUST_USE bool base64_decode(struct slice text, struct buf *out);

#endif
