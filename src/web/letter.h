/* letter: a message that the web process makes of forms or JSON, composed by message/compose.h.
 *
 * L1  a file's type is taken if it is a plain pair of tokens, and never one that nests messages; its name is one line
 * Addresses come parsed and qualified. Not here: putting it into Pickup (pickup/pickup_writer.h). */
#ifndef MR_WEB_LETTER_H
#define MR_WEB_LETTER_H

#include "message/compose.h"

struct letter {
    struct address_list from, to, cc, reply_to; /* of none: no such field */
    struct slice subject;
    struct slice text, html;             /* absent: no such part; both: alternatives */
    struct compose_file *files;
    size_t file_count;
    bool is_auto_reply;                  /* Auto-Submitted: auto-replied */
};

struct compose_file letter_file(struct arena *arena, struct slice name, struct slice type, struct slice content); /* L1 */
struct slice letter_one_line(struct arena *arena, struct slice text); /* controls to blanks */
MUST_USE bool letter_compose(struct arena *arena, const struct letter *letter, struct buf *out, struct error *error);

#endif
