/* inquiry: questions about the queue, answered by threads with readers of their own: with a million messages some of them
 * take seconds, and the loop never waits for them.
 *
 *   {"do": "list", "filter": {…, "limit": 100, "after": "0018…"}}  {"messages": […], "has_more": …, "next": "0018…"}  at most 500,
 *                                                 oldest first; `next`, if there are more, is the next question's `after`
 *   {"do": "show", "id": "0018…"}                 {"message": {…, "header": "…"}}
 *   {"do": "destinations"}                        {"destinations": [{"domain", "messages", "recipients", "held", "oldest_ms", "next_ms",
 *                                                 "attempts", "status", "reply", "host"}], "domains": how many there are; those with
 *                                                 most messages are told, 200 at most; "is_partial", "counted_ms"}
 *
 * I1  one after the other, in the order they came; counts of the whole queue are a second thread's, so that lists don't wait for them
 * I2  totals and destinations are exact while counting takes less than INQUIRY_FRESH_MS and nothing else is being counted; otherwise
 *     those of the last count are told at once, with the time it was made, and a new count begins, at most a tenth of the thread's time
 * I3  until the first count of the destinations is made, those of the oldest 5,000 messages are told, as is_partial
 * Functions are for the loop's thread. */
#ifndef MR_RELAY_INQUIRY_H
#define MR_RELAY_INQUIRY_H

#include "os/control.h"
#include "store/store.h"

enum { INQUIRY_FRESH_MS = 50 };

struct event_base;
struct inquiries;

MUST_USE struct inquiries *inquiries_start(const struct store_place *place, struct event_base *base, struct error *error);
void inquiries_end(struct inquiries **inquiries); /* what is being read is cut short */
/* False: this request is none of ours. Else it is answered later (control_defer). */
MUST_USE bool inquiries_ask(struct inquiries *inquiries, struct control_question *question, const json_t *request, json_t *answer);
/* Puts "messages", "recipients", "held", "due", "octets", "oldest_ms" and "counted_ms" into the answer; it may be deferred. */
void inquiries_put_totals(struct inquiries *inquiries, struct control_question *question, json_t *answer);

#endif
