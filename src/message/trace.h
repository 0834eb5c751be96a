/* trace: where a message belongs in the traces of applications.   W3C Trace Context, OpenTelemetry
 *
 *   traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01    version, trace, the parent's span, flags
 *
 * We keep "TRACE-PARENT-FLAGS", or "TRACE-FLAGS" where the trace begins with us.
 * T1  the ids are lower-case hexadecimal and not zero; version ff is none; 00 is these 55 octets; behind a later version's there may
 *     be more, after a dash. Anything else is no traceparent, and then the trace is a new one (W3C 4.3)
 * T2  flags: bit 0 says that the trace is recorded; without it we record nothing either
 * T3  our own ids are worked out from what stays the same (queue id, recipient, attempt): a span that is told twice is one span,
 *     after a crash as well, and nothing needs to be remembered to name a parent
 * Pure. */
#ifndef MR_MESSAGE_TRACE_H
#define MR_MESSAGE_TRACE_H

#include "base/slice.h"
#include "base/check.h"

#include <stdint.h>

enum { TRACE_ID_SIZE = 32, TRACE_SPAN_SIZE = 16 };

struct trace {
    struct slice id, parent; /* hexadecimal; parent absent: the trace begins here */
    bool is_recorded;        /* T2 */
};

/* The field's value -> "TRACE-PARENT-FLAGS" in it; false: it is none (T1). */
MUST_USE bool trace_of_header(struct slice value, struct slice *ret_kept);
/* What is kept -> its parts; false: it is nothing of ours. */
MUST_USE bool trace_read(struct slice kept, struct trace *ret_trace);

/* T3: a new trace's id, for message `id` of relay `host`; the id of the span `what` of a message. */
void trace_make(struct slice host, uint64_t id, char ret_id[TRACE_ID_SIZE + 1]);
void trace_make_span(uint64_t id, struct slice what, char ret_id[TRACE_SPAN_SIZE + 1]);

#endif
