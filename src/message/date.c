#include "message/content.h"

#include <time.h>

struct slice content_date(struct arena *arena, int64_t time_ms, int zone_s)
{
    static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t seconds = (time_t)(time_ms / 1000 + zone_s);
    int zone = zone_s < 0 ? -zone_s : zone_s;
    struct tm at;
    (void)gmtime_r(&seconds, &at); /* in range for any clock */
    return arena_printf(arena, "%s, %d %s %d %02d:%02d:%02d %c%02d%02d", days[at.tm_wday], at.tm_mday,
                        months[at.tm_mon], at.tm_year + 1900, at.tm_hour, at.tm_min, at.tm_sec,
                        zone_s < 0 ? '-' : '+', zone / 3600, zone / 60 % 60);
}
