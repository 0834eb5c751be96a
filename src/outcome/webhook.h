/* webhook: hooks of the config at work: events of the log, posted to a URL.   Standard Webhooks 1.0
 *
 *   event log ─follower─> window ─POST─> endpoint
 *                          └─> Hooks/NAME.json: the place in the log that all before it is taken
 *
 * B1  at least once: an event is done when the endpoint answered 2xx. The place is kept in a file, with what was taken behind it; a
 *     crash sends again what was taken after the last save (SAVE_MS). webhook-id is the same for the same event: receivers drop doubles
 * B2  in order for each message: an event waits until those of its message before it are done. Different messages overtake
 * B3  no answer, 408, 425, 429, 3xx, 5xx: the endpoint rests, twice as long each time, or as it says by Retry-After; then one
 *     request probes it. Any other 4xx refuses one event: it is tried REFUSALS_MAX times, the others go on
 * B4  what is refused so often, or older than give_up at a failure, is set aside in Hooks/NAME.undelivered (a line of JSON each) and told
 * B5  signed: HMAC-SHA256 over "id.timestamp.body". A secret "whsec_…" is base64, any other file is the key as it stands
 * B6  a new hook begins with the events of the last minute
 * All on the loop's thread. */
#ifndef MR_OUTCOME_WEBHOOK_H
#define MR_OUTCOME_WEBHOOK_H

#include "config/config.h"

struct event_base;
struct webhooks;

/* Reads the secrets; for a caller who may still read what is root's alone. The error names the file. */
MUST_USE struct webhooks *webhooks_open(const struct config *config, struct error *error);
/* `tell` is given lines for the operator. */
MUST_USE bool webhooks_start(struct webhooks *webhooks, struct event_base *base, void (*tell)(const char *text), struct error *error);
void webhooks_close(struct webhooks **webhooks); /* saves where it is; requests under way are cut */

#endif
