/* tag_list: "name=value; name=value", as DKIM, its key records, ARC and DMARC write it.   RFC 6376 3.2, RFC 7489 6.3
 *
 * G1  names are a letter, then letters, digits and "_"; case counts; a name twice is no list (RFC 6376 3.2)
 * G2  blanks and folds around names and values are not part of them; those inside a value are
 * G3  one empty piece may stand behind the last ";"
 * Slices point into the text; the array lives in the arena. */
#ifndef MR_MESSAGE_TAG_LIST_H
#define MR_MESSAGE_TAG_LIST_H

#include "base/arena.h"

enum { TAG_LIST_MAX = 64 };

struct tag { struct slice name, value; };
struct tag_list { struct tag *items; size_t count; };

MUST_USE bool tag_list_parse(struct arena *arena, struct slice text, struct tag_list *ret_list);
struct slice tag_get(const struct tag_list *list, const char *name); /* absent if it isn't there */
/* The value without its blanks and line ends, in the arena: base64 may be folded anywhere. */
struct slice tag_unfold(struct arena *arena, struct slice value);
/* Whether a list parted by `separator` has the word, without case; blanks around words don't count. */
bool tag_has_word(struct slice list, char separator, const char *word);

#endif
