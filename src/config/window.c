#include "config/window.h"

#include <time.h>

enum { DAY_MINUTES = 24 * 60, EVERY_DAY = 0x7f };

static int day_of(struct slice text)
{
    static const char names[] = "SunMonTueWedThuFriSat";
    for (int i = 0; i < 7; i++)
        if (slice_equals_nocase(text, slice_make(names + 3 * i, 3)))
            return i;
    return -1;
}

/* "Mon", "Mon-Fri", "Sat-Mon". */
static bool days_parse(struct slice text, unsigned *ret_days)
{
    int first = day_of(slice_cut(&text, '-')), last = slice_is_absent(text) || text.size == 0 ? first : day_of(text);
    if (first < 0 || last < 0)
        return false;
    *ret_days = 1u << last;
    for (int day = first; day != last; day = (day + 1) % 7)
        *ret_days |= 1u << day;
    return true;
}

static bool minutes_parse(struct slice text, int *ret_minutes)
{
    uint64_t hours, minutes;
    if (!slice_to_u64(slice_cut(&text, ':'), &hours) || text.size != 2 || !slice_to_u64(text, &minutes) || minutes > 59
        || hours * 60 + minutes > DAY_MINUTES)
        return false;
    *ret_minutes = (int)(hours * 60 + minutes);
    return true;
}

static bool span_parse(struct slice text, struct window_span *ret_span)
{
    struct slice hours = text, days;
    bool has_days = text.size && (text.data[0] < '0' || text.data[0] > '9');
    ret_span->days = EVERY_DAY;
    if (has_days) {
        size_t size = 0;
        while (size < text.size && text.data[size] != ' ' && text.data[size] != '/')
            size++;
        days = slice_first(text, size);
        hours = slice_from(text, size);
        while (hours.size && (hours.data[0] == ' ' || hours.data[0] == '/'))
            hours = slice_from(hours, 1);
        if (!days_parse(days, &ret_span->days))
            return false;
    }
    struct slice from = slice_cut(&hours, '-');
    return minutes_parse(slice_trim(from), &ret_span->from) && minutes_parse(slice_trim(hours), &ret_span->to)
           && ret_span->from < DAY_MINUTES;
}

bool window_parse(struct slice text, struct window *ret_window, struct error *error)
{
    struct slice rest = text;
    *ret_window = (struct window){.count = 0};
    while (rest.size) {
        struct slice part = slice_trim(slice_cut(&rest, ','));
        if (ret_window->count == WINDOW_SPANS_MAX)
            return error_set(error, "at most %d spans are taken", WINDOW_SPANS_MAX);
        if (!span_parse(part, &ret_window->spans[ret_window->count++]))
            return error_set(error, "\"%.*s\": days and hours were expected, as in \"Mon-Fri 08:00-18:00\"", SLICE_FMT(part));
    }
    return ret_window->count || error_set(error, "days and hours were expected, as in \"Mon-Fri 08:00-18:00\"");
}

/* That minute of the day `offset` days after the one `now` is in, as Unix milliseconds. */
static int64_t moment(const struct tm *now, int offset, int minutes)
{
    struct tm at = {.tm_year = now->tm_year, .tm_mon = now->tm_mon, .tm_mday = now->tm_mday + offset, .tm_min = minutes,
                    .tm_isdst = -1};
    return (int64_t)mktime(&at) * 1000;
}

int64_t window_next(const struct window *window, int64_t wall_ms)
{
    struct tm now;
    time_t seconds = (time_t)(wall_ms / 1000);
    int64_t best = INT64_MAX;
    if (window->count == 0 || !localtime_r(&seconds, &now))
        return wall_ms;
    for (int offset = -1; offset <= 7; offset++) {
        for (size_t i = 0; i < window->count; i++) {
            const struct window_span *span = &window->spans[i];
            if (!(span->days & 1u << (now.tm_wday + offset + 7) % 7))
                continue;
            int64_t from = moment(&now, offset, span->from);
            int64_t to = moment(&now, offset, span->to + (span->to <= span->from ? DAY_MINUTES : 0));
            if (to > wall_ms && (from > wall_ms ? from : wall_ms) < best)
                best = from > wall_ms ? from : wall_ms;
        }
    }
    return best == INT64_MAX ? wall_ms : best;
}
