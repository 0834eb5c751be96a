/* What the files of the DSN share. dsn.c: the structure and what machines read; dsn_text.c: what
 * people read, and how the text of others becomes lines of ours. */
#ifndef MR_MESSAGE_DSN_PRIVATE_H
#define MR_MESSAGE_DSN_PRIVATE_H

#include "message/dsn.h"

enum dsn_octets { DSN_ASCII, DSN_UTF8 };

/* The text without line ends and control characters: CR, LF and HT become blanks; other controls
 * (C1 and the Unicode line ends too), what is no UTF-8, and for DSN_ASCII every other character
 * become "?". Never longer than `text`. */
struct slice dsn_clean(struct arena *arena, struct slice text, enum dsn_octets octets);

/* Appends clean prose to the line under way, broken at blanks before column 78, continued by CRLF
 * and `indent`. Runs of blanks become one; only a word that would pass 998 octets is cut. Ends
 * without a line end. */
void dsn_put_folded(struct buf *out, struct slice text, const char *indent);
/* Appends a clean value (address, id) that stays on its line with its blanks; folded only if the
 * line would be too long. */
void dsn_put_value(struct buf *out, struct slice value, const char *indent);

/* "5.1.1": as given, with the class of the action; X.0.0 for what is no status (RFC 3463 2). */
struct slice dsn_status(struct arena *arena, struct slice given, enum dsn_action action);

/* The first part: canonical lines of text. `subject` is the original's, absent if none. */
void dsn_put_text(struct arena *arena, const struct dsn_report *report, struct slice subject,
                  struct buf *out);

#endif
