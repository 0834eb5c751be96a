/* What a section may say, when, and which of what it says counts. */
#include "lab/scenario_private.h"

#include "config/value.h"

static bool is_reply(struct slice text)
{
    return text.size > 4 && text.data[0] >= '2' && text.data[0] <= '5' && text.data[1] >= '0' && text.data[1] <= '5' && text.data[2] >= '0'
           && text.data[2] <= '9' && text.data[3] == ' ';
}

/* close: hangs up; silent: says nothing any more; lost: takes the message and hangs up. */
bool lab_says_check(struct slice key, struct slice text, struct error *error)
{
    static const struct { struct slice key; const char *words; } stages[] = {
        {{"connect", 7}, "refused, unreachable, silent, close"}, {{"message", 7}, "lost, silent, close"}, {{"", 0}, "silent, close"}};
    size_t i = 0;
    while (stages[i].key.size && !slice_equals(key, stages[i].key))
        i++;
    for (struct slice words = slice_of(stages[i].words); words.size;)
        if (slice_equals(slice_trim(slice_cut(&words, ',')), text))
            return true;
    return is_reply(text)
           || error_set(error, "\"%.*s\": a reply as \"451 4.7.1 Try later\" was expected, or one of %s", SLICE_FMT(text), stages[i].words);
}

bool lab_span_read(struct slice text, struct lab_span *ret_span, struct error *error)
{
    struct slice from = slice_trim(text), to = SLICE_NONE;
    ptrdiff_t at = slice_find(from, SLICE(" to "));
    *ret_span = (struct lab_span){0, INT64_MAX};
    if (at >= 0) {
        to = slice_trim(slice_from(from, (size_t)at + 4));
        from = slice_trim(slice_first(from, (size_t)at));
    } else if (slice_starts(from, SLICE("until "))) {
        to = slice_trim(slice_from(from, 6));
        from = SLICE("0s");
    } else if (slice_starts(from, SLICE("from "))) {
        from = slice_trim(slice_from(from, 5));
    } else {
        to = from;
    }
    bool is_fine = value_duration(from, &ret_span->from_ms) && (slice_is_absent(to) || value_duration(to, &ret_span->to_ms));
    if (is_fine && ret_span->from_ms == ret_span->to_ms)
        ret_span->to_ms += 1000; /* "5m": that second */
    return (is_fine && ret_span->from_ms < ret_span->to_ms)
           || error_set(error, "\"%.*s\" is no time; accepted: \"10m to 2h\", \"from 10m\", \"until 2h\", \"5m\"", SLICE_FMT(text));
}
