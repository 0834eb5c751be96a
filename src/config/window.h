/* window: the times of a week in which mail may go out.
 *
 *   "Mon-Fri 08:00-18:00, Sat 09:00-12:00"     "22:00-06:00" (every day, over midnight)
 *
 * Local time, of the process's zone; a day on which the clock changes is taken as the calendar has it. "/" may stand for the
 * blank between days and hours. Pure but for the zone. */
#ifndef MR_CONFIG_WINDOW_H
#define MR_CONFIG_WINDOW_H

#include "base/error.h"
#include "base/slice.h"

enum { WINDOW_SPANS_MAX = 16 };

struct window {
    struct window_span { unsigned days; int from, to; } spans[WINDOW_SPANS_MAX]; /* bit 0: Sunday; minutes; to <= from: next day */
    size_t count;
};

MUST_USE bool window_parse(struct slice text, struct window *ret_window, struct error *error);
/* The first moment from `wall_ms` on that is inside: itself if it is. A window without spans is always open. */
int64_t window_next(const struct window *window, int64_t wall_ms);

#endif
