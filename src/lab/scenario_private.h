/* What the files of the scenario's reader share: scenario.c (sections), phase.c (times and replies), expect.c (what must come of it),
 * complete.c (what isn't said). */
#ifndef MR_LAB_SCENARIO_PRIVATE_H
#define MR_LAB_SCENARIO_PRIVATE_H

#include "lab/scenario.h"

/* "10m to 2h", "from 10m", "until 2h"; "5m" is that second. */
MUST_USE bool lab_span_read(struct slice text, struct lab_span *ret_span, struct error *error);
/* Whether a server can say that at a stage ("rcpt"). */
MUST_USE bool lab_says_check(struct slice stage, struct slice text, struct error *error);
/* `name` without "expect.". */
MUST_USE bool lab_expect_set(struct scenario *scenario, struct slice name, size_t line, struct slice text, struct error *error);
void lab_expects_clear(struct scenario *scenario);
/* Fills in what nobody said: addresses of hosts, hosts of senders' domains, the end. The number of mistakes, told in `report`. */
size_t lab_scenario_complete(struct scenario *scenario, const char *place, struct buf *report);
/* More of the same file. */
MUST_USE bool lab_scenario_add(struct scenario *scenario, struct slice text, struct buf *report);

#endif
