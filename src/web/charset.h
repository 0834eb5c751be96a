/* charset: text of old pages and their posts as UTF-8, and back.   WHATWG Encoding 4.2
 *
 * C1  latin1, us-ascii and no name at all mean windows-1252, as browsers have it
 * C2  octets that the charset doesn't have become U+FFFD; nothing is cut, NUL and other controls but HT, LF, CR become U+FFFD
 * C3  to a charset: characters it lacks become &#NNNN;, for pages */
#ifndef MR_WEB_CHARSET_H
#define MR_WEB_CHARSET_H

#include "base/arena.h"
#include "base/buf.h"

/* The page's own word: a byte order mark, else the first <meta> that names one. Clean ASCII, lower case. */
struct slice charset_of_page(struct arena *arena, struct slice page);
struct slice charset_to_utf8(struct arena *arena, struct slice charset, struct slice text);
void charset_from_utf8(struct slice charset, struct slice text, struct buf *out);

#endif
