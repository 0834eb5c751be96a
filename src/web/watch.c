#include "web/watch.h"

#include "base/json.h"
#include "base/mem.h"
#include "os/clock.h"
#include "outcome/follow.h"
#include "outcome/history.h"

#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

enum { LOOK_MS = 500, READ_SIZE = 1 << 20, BACK_SIZE = 64 << 20, BEHIND_MAX = 32 << 20, SLOTS_MAX = 120 };
enum count { COUNT_TAKEN, COUNT_DELIVERED, COUNT_DEFERRED, COUNT_BOUNCED, COUNT_REFUSED, COUNT_BADMAIL, COUNTS };

static const char *const count_names[COUNTS] = {"taken", "delivered", "deferred", "bounced", "refused", "badmail"};
static const struct { const char *event; enum count count; } counted[] = {
    {"taken", COUNT_TAKEN},     {"delivered", COUNT_DELIVERED}, {"deferred", COUNT_DEFERRED}, {"bounced", COUNT_BOUNCED},
    {"expired", COUNT_BOUNCED}, {"refused", COUNT_REFUSED},     {"badmail", COUNT_BADMAIL},
};
static const int64_t delay_limits_ms[WATCH_DELAYS] = {50, 100, 250, 500, 1000, 5000, 30000, 300000, 3600000, INT64_MAX};
static const struct { const char *name; int64_t width_s; size_t slots; } spans[] = {
    {"hour", 60, 60}, {"day", 900, 96}, {"month", 21600, 120}};

struct slot { int64_t number; uint64_t counts[COUNTS], delay_ms; };

struct watch {
    const struct config *config;
    pthread_mutex_t mutex; /* everything below but the thread's own file */
    pthread_cond_t ended;
    pthread_t thread;
    bool is_ending;
    void (*tick)(void *arg);
    void *arg;
    uint64_t counts[COUNTS], delays[WATCH_DELAYS], delay_ms;
    struct slot slots[COUNT_OF(spans)][SLOTS_MAX];
    char *recent[WATCH_RECENT];
    uint64_t recent_count;
    bool is_live;         /* the past is read */
    struct follower follower; /* the thread's */
};

/* ---- one event ---- */

static void count_event(struct watch *watch, enum count count, int64_t time_s, int64_t delay_ms)
{
    watch->counts[count]++;
    for (size_t i = 0; i < COUNT_OF(spans); i++) {
        int64_t number = time_s / spans[i].width_s;
        struct slot *slot = &watch->slots[i][(size_t)number % spans[i].slots];
        if (slot->number > number)
            continue; /* older than the span */
        if (slot->number != number)
            *slot = (struct slot){.number = number};
        slot->counts[count]++;
        if (count == COUNT_DELIVERED && delay_ms >= 0)
            slot->delay_ms += (uint64_t)delay_ms;
    }
    for (size_t i = 0; count == COUNT_DELIVERED && delay_ms >= 0 && i < WATCH_DELAYS; i++)
        if (delay_ms <= delay_limits_ms[i]) {
            watch->delays[i]++;
            watch->delay_ms += (uint64_t)delay_ms;
            break;
        }
}

static void take_line(struct watch *watch, struct slice line)
{
    json_t *event = json_loadb(line.data, line.size, 0, NULL);
    const char *kind = json_string_value(json_object_get(event, "event"));
    int64_t time_ms = history_time_ms(event);
    const json_t *delay = json_object_get(event, "delay_ms");
    pthread_mutex_lock(&watch->mutex);
    for (size_t i = 0; kind && time_ms >= 0 && i < COUNT_OF(counted); i++)
        if (strcmp(kind, counted[i].event) == 0)
            count_event(watch, counted[i].count, time_ms / 1000, delay ? json_integer_value(delay) : -1);
    if (kind && watch->is_live) {
        char **place = &watch->recent[watch->recent_count++ % WATCH_RECENT];
        free(*place);
        *place = slice_copy(line);
    }
    pthread_mutex_unlock(&watch->mutex);
    json_decref(event);
}

/* ---- the log ---- */

static void look(struct watch *watch)
{
    static const struct follow_place none;
    struct slice line;
    if (watch->is_live && follower_left(&watch->follower) > BEHIND_MAX) { /* W3 */
        follower_finish(&watch->follower);
        follower_start(&watch->follower, watch->config, &none, READ_SIZE);
    }
    while (follower_next(&watch->follower, &line))
        take_line(watch, line);
}

static void *watch_main(void *arg)
{
    struct watch *watch = arg;
    static const struct follow_place none;
    follower_start(&watch->follower, watch->config, &none, BACK_SIZE);
    look(watch);
    pthread_mutex_lock(&watch->mutex);
    watch->is_live = true;
    while (!watch->is_ending) {
        struct timespec until;
        pthread_mutex_unlock(&watch->mutex);
        look(watch);
        watch->tick(watch->arg);
        pthread_mutex_lock(&watch->mutex);
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += LOOK_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        if (!watch->is_ending)
            (void)pthread_cond_timedwait(&watch->ended, &watch->mutex, &until);
    }
    pthread_mutex_unlock(&watch->mutex);
    return NULL;
}

bool watch_start(const struct config *config, void (*tick)(void *arg), void *arg, struct watch **ret_watch,
                 struct error *error)
{
    struct watch *watch = mem_alloc(sizeof *watch);
    watch->config = config;
    watch->tick = tick;
    watch->arg = arg;
    pthread_mutex_init(&watch->mutex, NULL);
    pthread_cond_init(&watch->ended, NULL);
    *ret_watch = watch;
    if (pthread_create(&watch->thread, NULL, watch_main, watch) == 0)
        return true;
    free(watch);
    *ret_watch = NULL;
    return error_set(error, "no thread");
}

void watch_stop(struct watch **watch)
{
    struct watch *w = *watch;
    if (!w)
        return;
    pthread_mutex_lock(&w->mutex);
    w->is_ending = true;
    pthread_cond_signal(&w->ended);
    pthread_mutex_unlock(&w->mutex);
    pthread_join(w->thread, NULL);
    for (size_t i = 0; i < WATCH_RECENT; i++)
        free(w->recent[i]);
    follower_finish(&w->follower);
    pthread_mutex_destroy(&w->mutex);
    pthread_cond_destroy(&w->ended);
    free(w);
    *watch = NULL;
}

/* ---- telling ---- */

static void put_point(const struct slot *slot, int64_t number, int64_t width_s, struct buf *out)
{
    static const struct slot none;
    const struct slot *shown = slot->number == number ? slot : &none;
    json_open(out, '{');
    json_put_number(out, "time", number * width_s);
    for (size_t i = 0; i < COUNTS; i++)
        json_put_number(out, count_names[i], (int64_t)shown->counts[i]);
    uint64_t delivered = shown->counts[COUNT_DELIVERED];
    json_put_number(out, "delay_ms", (int64_t)(delivered ? shown->delay_ms / delivered : 0));
    json_close(out, '}');
}

bool watch_put_graph(struct watch *watch, struct slice span, int64_t now_ms, struct buf *out)
{
    size_t at = 0;
    while (at < COUNT_OF(spans) && !slice_equals(span, slice_of(spans[at].name)))
        at++;
    if (at == COUNT_OF(spans))
        return false;
    int64_t last = now_ms / 1000 / spans[at].width_s;
    json_open(out, '{');
    json_put_text(out, "span", span);
    json_put_number(out, "width_s", spans[at].width_s);
    json_key(out, "points");
    json_open(out, '[');
    pthread_mutex_lock(&watch->mutex);
    for (int64_t number = last - (int64_t)spans[at].slots + 1; number <= last; number++)
        put_point(&watch->slots[at][(size_t)number % spans[at].slots], number, spans[at].width_s, out);
    pthread_mutex_unlock(&watch->mutex);
    json_close(out, ']');
    json_close(out, '}');
    return true;
}

void watch_put_rates(struct watch *watch, int64_t now_ms, struct buf *out)
{
    int64_t number = now_ms / 1000 / spans[0].width_s;
    uint64_t sums[COUNTS] = {0};
    pthread_mutex_lock(&watch->mutex);
    for (int64_t at = number - 1; at <= number; at++) {
        const struct slot *slot = &watch->slots[0][(size_t)at % spans[0].slots];
        for (size_t i = 0; slot->number == at && i < COUNTS; i++)
            sums[i] += slot->counts[i];
    }
    pthread_mutex_unlock(&watch->mutex);
    for (size_t i = 0; i < COUNTS; i++)
        json_put_number(out, count_names[i], (int64_t)sums[i]);
}

void watch_put_metrics(struct watch *watch, struct buf *out)
{
    uint64_t below = 0;
    pthread_mutex_lock(&watch->mutex);
    buf_append_text(out, "# HELP mailroot_events_total Steps of messages, by kind\n# TYPE mailroot_events_total counter\n");
    for (size_t i = 0; i < COUNTS; i++)
        buf_printf(out, "mailroot_events_total{kind=\"%s\"} %llu\n", count_names[i], (unsigned long long)watch->counts[i]);
    buf_append_text(out, "# HELP mailroot_delivery_seconds From arrival to the server's answer\n"
                         "# TYPE mailroot_delivery_seconds histogram\n");
    for (size_t i = 0; i < WATCH_DELAYS; i++) {
        below += watch->delays[i];
        if (i + 1 < WATCH_DELAYS)
            buf_printf(out, "mailroot_delivery_seconds_bucket{le=\"%g\"} %llu\n", (double)delay_limits_ms[i] / 1000,
                       (unsigned long long)below);
        else
            buf_printf(out, "mailroot_delivery_seconds_bucket{le=\"+Inf\"} %llu\n", (unsigned long long)below);
    }
    buf_printf(out, "mailroot_delivery_seconds_sum %g\nmailroot_delivery_seconds_count %llu\n", (double)watch->delay_ms / 1000,
               (unsigned long long)below);
    pthread_mutex_unlock(&watch->mutex);
}

void watch_put_recent(struct watch *watch, uint64_t *cursor, struct buf *out)
{
    pthread_mutex_lock(&watch->mutex);
    if (*cursor == 0)
        *cursor = watch->recent_count + 1;
    uint64_t next = *cursor - 1; /* cursors count from 1 */
    if (watch->recent_count > next + WATCH_RECENT)
        next = watch->recent_count - WATCH_RECENT;
    for (; next < watch->recent_count; next++)
        buf_printf(out, "event: mail\ndata: %s\n\n", watch->recent[next % WATCH_RECENT]);
    *cursor = next + 1;
    pthread_mutex_unlock(&watch->mutex);
}
