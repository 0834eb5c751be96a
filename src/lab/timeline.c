#include "lab/timeline.h"

#include "outcome/history.h"

#include <stdio.h>

enum { SECOND_MS = 1000, MINUTE_MS = 60 * SECOND_MS, HOUR_MS = 60 * MINUTE_MS, DAY_MS = 24 * HOUR_MS };
enum { SHOWN_MAX = 5 }; /* of attempts that come to the same */

static void put_time(struct buf *out, int64_t at_ms)
{
    buf_printf(out, "%2lldd %02lld:%02lld:%02lld  ", (long long)(at_ms / DAY_MS), (long long)(at_ms / HOUR_MS % 24),
               (long long)(at_ms / MINUTE_MS % 60), (long long)(at_ms / SECOND_MS % 60));
}

/* "4m 52s", "1h 03m" */
static void put_wait(struct buf *out, int64_t ms)
{
    int64_t seconds = (ms + SECOND_MS / 2) / SECOND_MS;
    if (seconds >= 3600)
        buf_printf(out, "%lldh %02lldm", (long long)(seconds / 3600), (long long)(seconds / 60 % 60));
    else if (seconds >= 60)
        buf_printf(out, "%lldm %02llds", (long long)(seconds / 60), (long long)(seconds % 60));
    else
        buf_printf(out, "%llds", (long long)seconds);
}

/* What it came to, without what is another each time. */
static void put_words(struct buf *out, const json_t *event)
{
    const char *reply = history_text(event, "reply"), *reason = history_text(event, "reason");
    if (*reply)
        buf_printf(out, "%s: %s", history_text(event, "mx"), reply);
    else
        buf_append_text(out, *reason ? reason : history_text(event, "mx"));
    if (*history_text(event, "tls"))
        buf_printf(out, " (%s)", history_text(event, "tls"));
}

static void put_attempt(struct buf *out, const json_t *event, int64_t now_wall_ms)
{
    json_int_t attempt = json_integer_value(json_object_get(event, "attempt"));
    buf_append_text(out, history_text(event, "to"));
    if (attempt > 1)
        buf_printf(out, ", attempt %lld", (long long)attempt);
    buf_append_text(out, ": ");
    put_words(out, event);
    if (*history_text(event, "next")) {
        buf_append_text(out, "; again in ");
        put_wait(out, history_ms(event, "next") - now_wall_ms);
    }
}

static bool is_shown(const json_t *event)
{
    static const char *const silent[] = {"queued", "connected", "disconnected", "done", "visited", "started", "stopped"};
    const char *kind = history_text(event, "event");
    for (size_t i = 0; i < COUNT_OF(silent); i++)
        if (strcmp(kind, silent[i]) == 0)
            return false;
    return strcmp(kind, "arrived") != 0 || strcmp(history_text(event, "answer"), "lost") == 0; /* others are told by the relay */
}

static void put_line(struct buf *out, const json_t *event, int64_t at_ms, int64_t now_wall_ms)
{
    const char *kind = history_text(event, "event");
    bool is_lost = strcmp(kind, "arrived") == 0;
    struct slice word = is_lost ? SLICE("lost") : slice_of(kind);
    put_time(out, at_ms);
    buf_append(out, word);
    buf_printf(out, "%*s", word.size < 10 ? (int)(10 - word.size) : 1, "");
    if (is_lost)
        buf_printf(out, "%s took the message and hung up instead of answering", history_text(event, "mx"));
    else if (strcmp(kind, "taken") == 0)
        buf_printf(out, "%s from <%s>, %lld recipient%s", history_text(event, "pickup"), history_text(event, "from"),
                   (long long)json_integer_value(json_object_get(event, "recipients")),
                   json_integer_value(json_object_get(event, "recipients")) == 1 ? "" : "s");
    else if (strcmp(kind, "notice") == 0)
        buf_printf(out, "the sender is told: %s", history_text(event, "note"));
    else if (strcmp(kind, "step") == 0)
        buf_append_text(out, history_text(event, "does"));
    else if (*history_text(event, "to"))
        put_attempt(out, event, now_wall_ms);
    else
        buf_printf(out, "%s%s%s%s%s", history_text(event, "mx"), *history_text(event, "mx") ? ": " : "", history_text(event, "note"),
                   *history_text(event, "note") && *history_text(event, "reason") ? "; " : "", history_text(event, "reason"));
    buf_append_byte(out, '\n');
}

void timeline_end(struct timeline *timeline, struct buf *out)
{
    if (timeline->hidden > 1)
        buf_printf(out, "               ... %zu more, all the same ...\n", timeline->hidden - 1);
    buf_append(out, buf_slice(&timeline->last));
    buf_finish(&timeline->last);
    buf_finish(&timeline->key);
    *timeline = (struct timeline){.count = 0};
}

void timeline_put(struct timeline *timeline, struct buf *out, const json_t *event, int64_t at_ms, int64_t now_wall_ms)
{
    struct buf key = {0};
    if (!is_shown(event))
        return;
    if (strcmp(history_text(event, "event"), "deferred") == 0) {
        buf_printf(&key, "%s ", history_text(event, "to"));
        put_words(&key, event);
    }
    bool is_same = key.size && slice_equals(buf_slice(&key), buf_slice(&timeline->key));
    if (!is_same)
        timeline_end(timeline, out);
    buf_finish(&timeline->key);
    timeline->key = key;
    if (++timeline->count <= SHOWN_MAX) {
        put_line(out, event, at_ms, now_wall_ms);
        return;
    }
    timeline->hidden++;
    buf_clear(&timeline->last);
    put_line(&timeline->last, event, at_ms, now_wall_ms);
}
