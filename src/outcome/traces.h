/* traces: the event log's spans, posted to a collector.   OTLP/HTTP 1.x with JSON; OpenTelemetry
 *
 *   event log ─follower─> batch of spans ─POST─> otlp.url
 *                          └─> Hooks/.otlp.json: the place in the log that all before it is told
 *
 * P1  the log is the queue: one batch is in memory, of at most SPANS_MAX spans and about BATCH_SIZE octets; mail waits for nothing
 * P2  a batch is posted when it is full, or otlp.interval after its first span; one request at a time
 * P3  no answer, 429, 502, 503, 504: again, later each time or as Retry-After says. Any other answer than 2xx: the batch is dropped
 *     (OTLP: it must not be sent again). What a partial success rejects is dropped, too
 * P4  what is dropped is counted and told, at most once in TELL_MS, and when it ends; so is a log that was rotated away unread
 * P5  a crash sends the last batch again: its spans have the same ids (message/trace.h T3)
 * P6  the first time it begins with the events of the last minute
 * All on the loop's thread. */
#ifndef MR_OUTCOME_TRACES_H
#define MR_OUTCOME_TRACES_H

#include "config/config.h"

struct event_base;
struct traces;

/* Reads the headers; for a caller who may still read what is root's alone. The error names the file. */
MUST_USE struct traces *traces_open(const struct config *config, struct error *error);
MUST_USE bool traces_start(struct traces *traces, struct event_base *base, void (*tell)(const char *text), struct error *error);
void traces_close(struct traces **traces); /* saves where it is; a request under way is cut and comes again */

#endif
