#include "os/clock.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

enum { SIMULATED_START_MS = 1000 * 1000 }; /* of monotonic time: 0 means "not" in many places */

static bool is_simulated; /* set before there are threads */
static _Atomic int64_t simulated_wall_ms, simulated_mono_ms;

void clock_simulate(int64_t wall_ms)
{
    is_simulated = true;
    atomic_store(&simulated_wall_ms, wall_ms);
    atomic_store(&simulated_mono_ms, SIMULATED_START_MS);
}

bool clock_is_simulated(void)
{
    return is_simulated;
}

void clock_advance(int64_t ms)
{
    atomic_fetch_add(&simulated_mono_ms, ms);
    atomic_fetch_add(&simulated_wall_ms, ms);
}

void clock_jump(int64_t ms)
{
    atomic_fetch_add(&simulated_wall_ms, ms);
}

int64_t clock_wall_ns(void)
{
    struct timespec now;
    if (is_simulated)
        return atomic_load(&simulated_wall_ms) * 1000000;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t clock_wall_ms(void)
{
    return clock_wall_ns() / 1000000;
}

int64_t clock_mono_ms(void)
{
    struct timespec now;
    if (is_simulated)
        return atomic_load(&simulated_mono_ms);
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* By how much the wall clock is off from the old one counted on; several threads may ask. */
static int64_t clock_set_ms(void)
{
    enum { NOTICED_MS = 60 * 1000, KEPT_MS = 24 * 60 * 60 * 1000 };
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static bool is_known;
    static int64_t difference_ms, since_ms; /* wall to monotonic; when it was last as expected */
    int64_t mono_ms = clock_mono_ms(), now_ms = clock_wall_ms() - mono_ms;
    pthread_mutex_lock(&mutex);
    int64_t off_ms = now_ms - difference_ms;
    if (!is_known || (off_ms < NOTICED_MS && off_ms > -NOTICED_MS) || mono_ms - since_ms > KEPT_MS) {
        is_known = true;
        difference_ms = now_ms;
        since_ms = mono_ms;
        off_ms = 0;
    }
    pthread_mutex_unlock(&mutex);
    return off_ms;
}

int64_t clock_due_ms(void)
{
    int64_t set_ms = clock_set_ms();
    return clock_wall_ms() - (set_ms < 0 ? set_ms : 0);
}

int64_t clock_set_forward_ms(void)
{
    int64_t set_ms = clock_set_ms();
    return set_ms > 0 ? set_ms : 0;
}

int clock_zone_s(int64_t wall_ms)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm local;
    return localtime_r(&seconds, &local) ? (int)local.tm_gmtoff : 0;
}

void clock_rfc3339(int64_t wall_ms, char ret_text[25])
{
    /* Days and times by arithmetic (the Gregorian calendar repeats every 400 years): gmtime_r() and strftime() cost
     * as much as the rest of an event line. */
    int64_t seconds = wall_ms / 1000;
    unsigned ms = (unsigned)(wall_ms % 1000);
    int64_t days = seconds / 86400 + 719468;
    unsigned in_day = (unsigned)(seconds % 86400);
    int64_t era = days / 146097;
    unsigned day_of_era = (unsigned)(days - era * 146097);
    unsigned year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned shifted_month = (5 * day_of_year + 2) / 153;
    unsigned day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    unsigned month = shifted_month < 10 ? shifted_month + 3 : shifted_month - 9;
    unsigned year = (unsigned)(era * 400) + year_of_era + (month <= 2);
    (void)snprintf(ret_text, 25, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ", year % 10000, month, day,
                   in_day / 3600, in_day / 60 % 60, in_day % 60, ms);
}
