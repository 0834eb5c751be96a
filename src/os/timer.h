/* timer: one call, later, on the loop: all that the relay does because time has passed.
 *
 * A timer is set for once; set again before it went off, it counts anew. It goes off on the loop, never inside a timer_ call, and may be
 * freed in its own callback.
 * Under a simulated clock (os/clock.h) timers wait for that one: the loop never sees them, timers_run() moves the clock to the next
 * one that is due and lets it go off. Those that are due at one moment go off in the order in which they were set. */
#ifndef MR_OS_TIMER_H
#define MR_OS_TIMER_H

#include <stdbool.h>
#include <stdint.h>

struct event_base;
struct timer;
typedef void timer_fn(void *arg);

struct timer *timer_make(struct event_base *base, timer_fn *fn, void *arg); /* never NULL */
void timer_free(struct timer **timer); /* NULL is fine */
void timer_set(struct timer *timer, int64_t wait_ms); /* negative: at once */
void timer_stop(struct timer *timer);
bool timer_is_set(const struct timer *timer);

/* Of a simulated clock: the monotonic time at which the next one is due; INT64_MAX: none is set. */
int64_t timers_next_ms(void);
/* Moves the clock there, unless it is beyond `until_ms` or there is none: false. One timer goes off. */
bool timers_run(int64_t until_ms);

#endif
