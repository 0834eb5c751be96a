/* clock: the only door to time.
 *
 * Wall time (Unix milliseconds) is for what people and other machines read: headers, events, the queue's due times.
 * Monotonic time is for waiting: time-outs, rates, caches; it counts on through suspend (CLOCK_BOOTTIME).
 *
 * A wall clock that is set while the program runs leaves two times: the wall's, and the old one counted on. For a day after it
 * what is due goes by the later of them, so that a clock set back holds nothing up, and what is too old by the earlier. */
#ifndef MR_OS_CLOCK_H
#define MR_OS_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

int64_t clock_wall_ms(void);
int64_t clock_wall_ns(void);
int64_t clock_mono_ms(void);
int64_t clock_due_ms(void);         /* the later of both times */
int64_t clock_set_forward_ms(void); /* how far the clock was set forward, 0 if it was not: ages are less by that */
int clock_zone_s(int64_t wall_ms); /* local offset then, seconds east of UTC */
/* "2026-11-24T04:18:00.123Z"; text has room for 25 octets. */
void clock_rfc3339(int64_t wall_ms, char ret_text[25]);

/* A simulated clock (the lab's): from now on both times stand still but for these calls. Before any thread and any timer is made. */
void clock_simulate(int64_t wall_ms);
bool clock_is_simulated(void);
void clock_advance(int64_t ms);
void clock_jump(int64_t ms); /* the wall clock alone, as somebody sets it */

#endif
