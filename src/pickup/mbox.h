/* mbox: a file of several messages, one behind the other.   RFC 4155 A
 *
 *   From sender@example.com Tue Nov 24 04:18:00 2026      a separator: at the start, or behind an empty line
 *   From: …
 *
 *   >From here on …                                       a line of the text that would look like one: a ">" goes away
 *
 * X1  a line is a separator if it has a sender and the name of a weekday behind it; anything else is text
 * X2  only a file whose name ends in .mbox, or whose folder says `dialect = mbox`, is taken apart: programs put a first line
 *     "From …" before one message without quoting its text, and that text would become messages of whoever wrote it
 * X3  all of its messages are taken, in one commit, or none
 * Pure. */
#ifndef MR_PICKUP_MBOX_H
#define MR_PICKUP_MBOX_H

#include "base/arena.h"
#include "base/error.h"

#include <stdint.h>

enum { MBOX_MESSAGES_MAX = 10000 };

struct mbox_message {
    struct slice text;  /* without its separator and the empty line before the next one; quoted lines unquoted */
    size_t line;        /* of its first line in the file */
};

/* X2: `dialect` is enum config_dialect. */
bool mbox_is(struct slice name, int dialect, struct slice file);
/* Which message of the file NAME a `pickup` means: "NAME" 1, "NAME#2" 2; 0: none of its. */
uint64_t mbox_number(const char *pickup, const char *name);
/* False: there are too many, or none. In the arena; what has no quoted line stays in the file. */
MUST_USE bool mbox_split(struct arena *arena, struct slice file, struct mbox_message **ret_messages, size_t *ret_count, struct error *error);

#endif
