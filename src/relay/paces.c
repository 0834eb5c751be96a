#include "relay/relay_private.h"

#include "base/mem.h"
#include "os/clock.h"
#include "os/file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { PACES_MAX = 20000, WRITE_AFTER_S = 2, TOLD_MAX = 100, FILE_SIZE_MAX = 64 * 1024 * 1024 };

static void drop(struct relay *relay, struct pace *pace)
{
    HASH_DEL(relay->paces, pace);
    free(pace->name);
    free(pace);
}

static bool is_used(const struct relay *relay, const struct pace *pace)
{
    const struct site *site;
    HASH_FIND_STR(relay->sites, pace->name, site);
    for (size_t i = 0; i < relay->config->source_count; i++)
        if (relay->sources[i].pace == pace)
            return true;
    return site != NULL;
}

/* What knows nothing, and no site holds; all that no site holds when even that is too much. */
static void make_room(struct relay *relay)
{
    struct pace *pace, *next;
    int64_t now_ms = clock_wall_ms();
    for (int round = 0; round < 2 && HASH_COUNT(relay->paces) >= PACES_MAX; round++)
        HASH_ITER(hh, relay->paces, pace, next)
            if (!is_used(relay, pace) && (round == 1 || pace_is_plain(pace, now_ms)))
                drop(relay, pace);
}

struct pace *pace_get(struct relay *relay, const char *name)
{
    struct pace *pace;
    HASH_FIND_STR(relay->paces, name, pace);
    if (pace)
        return pace;
    make_room(relay);
    pace = mem_alloc(sizeof *pace);
    pace->name = mem_copy_text(name);
    HASH_ADD_KEYPTR(hh, relay->paces, pace->name, strlen(pace->name), pace);
    return pace;
}

/* ---- Queue/pace.json ---- */

static void complain(struct relay *relay, const char *text)
{
    struct event event = EVENT(EVENT_WARNING);
    event.reason = slice_of(text);
    event.note = SLICE("pace.json: limits that were learnt");
    event_put(relay->parts.log, &event);
}

static void save(struct relay *relay)
{
    struct pace *pace, *next;
    struct error error;
    int64_t now_ms = clock_wall_ms();
    json_t *all = json_object();
    HASH_ITER(hh, relay->paces, pace, next)
        if (!pace_is_plain(pace, now_ms))
            json_object_set_new(all, pace->name, pace_to_json(pace));
    char *text = json_dumps(all, JSON_INDENT(1) | JSON_SORT_KEYS);
    int folder_fd = file_open_folder(relay->parts.queue_dir, &error);
    /* Not synced: what a power cut takes is learnt again. */
    if (folder_fd < 0 || !text || !file_publish(folder_fd, "pace.json", slice_of(text), FILE_NO_SYNC, &error))
        complain(relay, error.text);
    if (folder_fd >= 0)
        close(folder_fd);
    free(text);
    json_decref(all);
}

static void on_timer(void *arg)
{
    save(arg);
}

static void read_all(struct relay *relay, const json_t *all)
{
    const char *name;
    json_t *one;
    json_object_foreach((json_t *)(uintptr_t)all, name, one)
        if (HASH_COUNT(relay->paces) < PACES_MAX)
            pace_from_json(pace_get(relay, name), one);
}

void paces_load(struct relay *relay)
{
    struct buf text = {0}, path = {0}, name = {0};
    struct error error;
    json_error_t fault;
    const struct config *config = relay->config;
    relay->pace_timer = timer_make(relay->parts.base, on_timer, relay);
    relay->sources = mem_alloc((config->source_count + 1) * sizeof *relay->sources);
    buf_printf(&path, "%s/pace.json", relay->parts.queue_dir);
    int fd = open(buf_text(&path), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0) {
        json_t *all = file_read(fd, FILE_SIZE_MAX, &text, &error) ? json_loadb(text.data ? text.data : "", text.size, 0, &fault) : NULL;
        if (json_is_object(all))
            read_all(relay, all);
        else
            complain(relay, "it can't be read, and is begun anew");
        json_decref(all);
        close(fd);
    }
    for (size_t i = 0; i < config->source_count; i++) {
        buf_clear(&name);
        buf_printf(&name, "source %s", config->sources[i].name);
        relay->sources[i].pace = pace_get(relay, buf_text(&name));
    }
    buf_finish(&text);
    buf_finish(&path);
    buf_finish(&name);
}

/* What was learnt, for people. */
void paces_tell(struct relay *relay, json_t *answer)
{
    struct pace *pace, *next;
    int64_t now_ms = clock_wall_ms();
    json_t *all = json_array();
    HASH_ITER(hh, relay->paces, pace, next) {
        bool is_resting = pace->rests_until_ms > now_ms, is_ipv4 = pace->no_ipv6_until_ms > now_ms;
        if ((!pace->connections && !pace->interval_ms && !is_resting && !is_ipv4) || json_array_size(all) >= TOLD_MAX)
            continue;
        char until[25];
        json_t *one = json_pack("{s:s, s:I, s:I, s:b, s:s}", "site", pace->name, "connections", (json_int_t)pace->connections,
                                "interval_ms", (json_int_t)pace->interval_ms, "ipv4_alone", is_ipv4, "cause", pace->cause);
        if (is_resting) {
            clock_rfc3339(pace->rests_until_ms, until);
            json_object_set_new(one, "rests_until", json_string(until));
        }
        if (one)
            json_array_append_new(all, one);
    }
    json_object_set_new(answer, "paced", all);
}

void paces_changed(struct relay *relay)
{
    if (!relay->parts.is_rehearsal && !timer_is_set(relay->pace_timer))
        timer_set(relay->pace_timer, 1000L * WRITE_AFTER_S);
}

void paces_close(struct relay *relay)
{
    struct pace *pace, *next;
    if (!relay->pace_timer)
        return;
    if (timer_is_set(relay->pace_timer))
        save(relay);
    timer_free(&relay->pace_timer);
    HASH_ITER(hh, relay->paces, pace, next)
        drop(relay, pace);
    free(relay->sources);
}
