/* ledger: what a run's events say, held against what must never happen.
 *
 * I1  a message is taken once, and each of its recipients comes to one end: delivered, returned to the sender, or Badmail
 * I2  nothing is delivered that no server of the recipient's domain has answered for; nothing arrives at another's server
 * I3  nobody gets a message twice, unless the connection was lost behind the end of data, or the relay was killed before it had the answer
 *     on disk
 * I4  a site never has more connections than its limit
 * I5  retries are planned within the policy's bounds and not made before their time
 * I6  nothing waits beyond its expiry
 * I7  the sender of what is returned is told; a null sender's goes to Badmail
 * Where somebody set the clock, I5 and I6 are not held against it from then on. */
#ifndef MR_SIMULATE_LEDGER_H
#define MR_SIMULATE_LEDGER_H

#include "config/config.h"
#include "world.h"

#include <jansson.h>

struct ledger;
struct ledger_counts { uint64_t messages, recipients, events, arrivals, delivered, returned, lost_answers, repeated, kills; };

struct ledger *ledger_create(const struct world *world);
void ledger_config(struct ledger *ledger, const struct config *config); /* before the first event */
void ledger_event(struct ledger *ledger, const json_t *event, int64_t at_ms);
/* The run is over with so many messages left in the queue. The findings, a line each; NULL: none. */
const char *ledger_end(struct ledger *ledger, size_t left, struct ledger_counts *ret_counts);
bool ledger_has_enough(const struct ledger *ledger); /* findings: more would say the same */
void ledger_destroy(struct ledger **ledger);

#endif
