/* postfix: a main.cf as parameters, and their values with $name expanded.   postconf(5)
 *
 * M1  `name = value`, continued by lines that begin with a blank; comments begin with #, also between continuations
 * M2  the last mention counts
 * M3  $name, ${name}, $(name) become the value of that parameter, nothing if it isn't set; `$$` is a dollar. What has a condition
 *     (${name?text}, ${name:text}) stays as written. Loops and values over 64 KB end there
 * Slices live in the arena or point into the text. Not here: what a parameter means. */
#ifndef MR_CONFIG_POSTFIX_H
#define MR_CONFIG_POSTFIX_H

#include "base/arena.h"
#include "base/error.h"

struct postfix_parameter { struct slice name, value; size_t line; }; /* value as written, line ends become blanks */
struct postfix { struct postfix_parameter *items; size_t count; };

enum { POSTFIX_SIZE_MAX = 4 << 20 };

MUST_USE bool postfix_parse(struct arena *arena, struct slice text, struct postfix *ret_postfix, struct error *error);
/* Expanded and trimmed; absent if it isn't set. */
struct slice postfix_value(struct arena *arena, const struct postfix *postfix, struct slice name);

#endif
