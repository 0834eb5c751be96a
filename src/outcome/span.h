/* span: events of the log as spans of OpenTelemetry, in OTLP's JSON.   OTLP 1.x (opentelemetry.proto.trace.v1), Trace Context
 *
 *   message ──────────────────────────────────────────   from the file's appearance in Pickup to the last recipient's end
 *     take ──                                            until it is durably in the queue
 *     recipient ─────────────────────────                from its arrival to its end
 *       attempt ──        attempt ──                     to connect, and the transaction
 *
 * N1  every event tells its own spans, without what was said before: a trace is whole over restarts, nodes and rotations
 * N2  the application's span is the parent of `message`; a message without one has a trace of its own (message/trace.h T3)
 * N3  a trace that its application does not record has no spans (Trace Context 3.2.2.5)
 * N4  addresses, and words that hold one, only if `has_addresses`
 * Pure. */
#ifndef MR_OUTCOME_SPAN_H
#define MR_OUTCOME_SPAN_H

#include "base/buf.h"

#include <jansson.h>

struct span_options {
    const char *host, *service_name;
    bool has_addresses;
};

/* A request's body (ExportTraceServiceRequest): begun, then each event's spans, of which there are as many as it returns, then ended. */
void span_begin(const struct span_options *options, struct buf *out);
size_t span_put(const json_t *event, const struct span_options *options, struct buf *out);
void span_end(struct buf *out);

#endif
