/* charset: text of any charset as UTF-8.   WHATWG Encoding 4.2 and 5 for the names, and for what they mean in practice
 *
 * S1  us-ascii, iso-8859-1 and windows-1252 are windows-1252 (0x80 to 0x9F as control characters are never meant), gb2312 is GBK,
 *     ks_c_5601-1987 is code page 949, shift_jis is code page 932
 * S2  an unknown name is read as UTF-8; what a charset doesn't have, and ill-formed octets, become U+FFFD
 * S3  only the names of the table reach the system's converter: some of the others have a history of faults
 * Pure, but for the tables that iconv loads. */
#ifndef MR_MESSAGE_CHARSET_H
#define MR_MESSAGE_CHARSET_H

#include "base/buf.h"

const char *charset_iconv_name(struct slice charset); /* the converter's name for it; NULL: not in the table */
void charset_decode(struct slice charset, struct slice bytes, struct buf *out); /* appends well-formed UTF-8 */

/* The system's converter, once with iconv (charset_iconv.c), once for Windows: its name there, its code page here. */
void charset_convert(const char *iconv_name, unsigned page, struct slice bytes, struct buf *out);

#endif
