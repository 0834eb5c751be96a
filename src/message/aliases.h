/* aliases: local names that stand for other addresses, as sendmail's aliases(5) files have them.
 *
 *   name: address, address,        "# comment" lines; a line that begins with a blank goes on
 *         \name                    \name is that mailbox itself, not what an alias makes of it
 *
 * L1  names are local parts, compared without case; an address is a bare local part (in the domain the mail came for) or
 *     local@domain; one in a local domain is looked up again
 * L2  a loop is a mistake, said with its line when the file is read; expansion then always ends
 * L3  "|program", "/file" and ":include:" are mistakes: no program is run, no file read or written for an address
 * L4  a name that is there twice is a mistake, as is an alias without an address
 * Pure: the text comes in, mistakes go to a function. Immutable once parsed; any thread may expand. */
#ifndef MR_MESSAGE_ALIASES_H
#define MR_MESSAGE_ALIASES_H

#include "message/address.h"

enum { ALIASES_SIZE_MAX = 8 << 20, ALIASES_COUNT_MAX = 100000 };

struct aliases;
typedef bool aliases_local_fn(void *arg, struct slice domain);
typedef void aliases_fault_fn(void *arg, size_t line, const char *text);

/* Every mistake is told; with any the result is NULL. `is_local` is called only here. */
struct aliases *aliases_parse(struct slice text, aliases_local_fn *is_local, void *local_arg, aliases_fault_fn *fault,
                              void *fault_arg);
void aliases_destroy(struct aliases **aliases);
size_t aliases_count(const struct aliases *aliases);

/* What `address` (of a local domain) stands for, each once, in the file's order; false: it is no alias. */
MUST_USE bool aliases_expand(struct arena *arena, const struct aliases *aliases, const struct address *address,
                             struct address **ret_addresses, size_t *ret_count);

#endif
