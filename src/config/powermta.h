/* powermta: a PowerMTA config as directives, each with the blocks that it stands in.
 *
 *   smtp-listener 0.0.0.0:25        <virtual-mta v1>  <domain *> max-msg-rate 100/h </domain>  </virtual-mta>
 *
 * W1  a line is a directive: a name, blanks, the value up to the line's end or a comment (# at its start or behind a blank)
 * W2  <name value> begins a block, </name> ends it; blocks lie in blocks, POWERMTA_DEPTH_MAX deep
 * W3  names are told apart without case
 * Slices point into the text. Not here: what a directive means, files that `include` names. */
#ifndef MR_CONFIG_POWERMTA_H
#define MR_CONFIG_POWERMTA_H

#include "base/arena.h"
#include "base/error.h"

enum { POWERMTA_DEPTH_MAX = 4, POWERMTA_SIZE_MAX = 4 << 20 };

struct powermta_block { struct slice name, value; };
struct powermta_directive {
    struct powermta_block inner, outer;  /* the block it stands in, and the one around that; absent: none */
    struct slice name, value;            /* of the directive; a block itself is one, with an empty value in it: "domain" */
    size_t line;
};
struct powermta { struct powermta_directive *items; size_t count; };

/* False with the line of what is no syntax. */
MUST_USE bool powermta_parse(struct arena *arena, struct slice text, struct powermta *ret_powermta, struct error *error);

#endif
