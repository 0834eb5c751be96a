#include "os/clock.h"

#include <stdio.h>
#include <time.h>

int64_t clock_wall_ns(void)
{
    struct timespec now;
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
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
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
