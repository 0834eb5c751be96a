/* utf8: well-formed UTF-8 as RFC 3629 defines it (no overlong forms, no surrogates, up to U+10FFFF). */
#ifndef MR_BASE_UTF8_H
#define MR_BASE_UTF8_H

#include "base/slice.h"

size_t utf8_sequence(struct slice s); /* octets of the character at the front, 0 if ill-formed */
bool utf8_is_valid(struct slice s);

#endif
