#include "outcome/traces.h"

#include "base/mem.h"
#include "config/secrets.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/https.h"
#include "outcome/follow.h"
#include "outcome/history.h"
#include "outcome/span.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SPANS_MAX = 512, BATCH_SIZE = 512 * 1024, LOOK_MS = 100, SAVE_MS = 200, TELL_MS = 60 * 1000, NEW_MS = 60 * 1000,
       LOG_BACK = 64 << 20, ANSWER_SIZE_MAX = 64 * 1024, REST_FIRST_MS = 1000, REST_LONGEST_MS = 60 * 1000, RETRY_AFTER_MAX_S = 3600,
       HEADERS_MAX = 20 };

static const char state_name[] = ".otlp.json";

struct traces {
    const struct config *config;
    struct span_options options;
    struct https *https;
    struct https_call *call;
    struct event *look;
    char *url, *headers[HEADERS_MAX + 1];
    int folder_fd;
    void (*tell)(const char *text);
    struct follower follower;
    struct buf batch;
    size_t count;              /* spans in it */
    int64_t batch_ms;          /* monotonic: when it was begun */
    int64_t begin_ms;          /* wall: events before it are not of interest */
    bool is_whole;             /* nothing is added any more */
    struct follow_place done, saved;
    int64_t rest_ms, rests_until_ms; /* rest_ms 0: the collector works */
    uint64_t dropped;          /* not told yet */
    char dropped_why[200];
    int64_t tell_ms, save_ms;  /* monotonic: not before */
};

static void pump(struct traces *traces);

/* ---- what an operator is told ---- */

static void tell(const struct traces *traces, const char *what, const char *about)
{
    struct error line;
    (void)error_set(&line, "otlp: %s%s", what, about);
    traces->tell(line.text);
}

static void tell_dropped(struct traces *traces, bool is_end)
{
    char text[300];
    if (traces->dropped == 0 || (!is_end && clock_mono_ms() < traces->tell_ms))
        return;
    (void)snprintf(text, sizeof text, "%llu spans dropped: %s", (unsigned long long)traces->dropped, traces->dropped_why);
    tell(traces, text, "");
    traces->dropped = 0;
    traces->tell_ms = clock_mono_ms() + TELL_MS;
}

static void drop(struct traces *traces, uint64_t count, const char *why)
{
    traces->dropped += count;
    (void)snprintf(traces->dropped_why, sizeof traces->dropped_why, "%s", why);
    tell_dropped(traces, false);
}

/* ---- the batch ---- */

static void take_line(struct traces *traces, struct slice line)
{
    json_t *event = json_loadb(line.data, line.size, JSON_ALLOW_NUL, NULL);
    if (event && (!traces->begin_ms || history_time_ms(event) >= traces->begin_ms)) {
        if (traces->count == 0) {
            buf_clear(&traces->batch);
            span_begin(&traces->options, &traces->batch);
            traces->batch_ms = clock_mono_ms();
        }
        traces->count += span_put(event, &traces->options, &traces->batch);
    }
    json_decref(event);
}

static bool is_full(const struct traces *traces)
{
    return traces->count >= SPANS_MAX || traces->batch.size >= BATCH_SIZE;
}

static void fill(struct traces *traces)
{
    struct slice line;
    while (!is_full(traces) && follower_next(&traces->follower, &line))
        take_line(traces, line);
    if (traces->count == 0)
        traces->done = traces->follower.at; /* nothing there of ours */
    if (!traces->follower.is_lost)
        return;
    traces->follower.is_lost = false;
    tell(traces, "the log was rotated away before all of it was told: ", "spans are missing");
}

static void finish(struct traces *traces)
{
    traces->count = 0;
    traces->is_whole = false;
    traces->done = traces->follower.at;
}

/* ---- answers ---- */

/* {"partialSuccess": {"rejectedSpans": "2", "errorMessage": "…"}}; 64 bits may be a text or a number. */
static void look_at_partial(struct traces *traces, struct slice body)
{
    json_t *answer = body.size ? json_loadb(body.data, body.size, 0, NULL) : NULL;
    const json_t *partial = json_object_get(answer, "partialSuccess"), *rejected = json_object_get(partial, "rejectedSpans");
    const char *text = json_string_value(rejected);
    long long count = text ? atoll(text) : (long long)json_integer_value(rejected);
    if (count > 0) {
        const char *why = history_text(partial, "errorMessage");
        char words[160];
        (void)snprintf(words, sizeof words, "it rejected them: %.120s", *why ? why : "without a reason");
        drop(traces, (uint64_t)count, words);
    }
    json_decref(answer);
}

static void rest(struct traces *traces, int64_t retry_after_s, const char *reason)
{
    if (traces->rest_ms == 0)
        tell(traces, "the collector does not take spans: ", reason);
    traces->rest_ms = traces->rest_ms ? 2 * traces->rest_ms : REST_FIRST_MS;
    if (traces->rest_ms > REST_LONGEST_MS)
        traces->rest_ms = REST_LONGEST_MS;
    int64_t wait_ms = traces->rest_ms - (int64_t)((uint64_t)clock_wall_ns() % (uint64_t)(traces->rest_ms / 4));
    if (retry_after_s > 0)
        wait_ms = (retry_after_s > RETRY_AFTER_MAX_S ? RETRY_AFTER_MAX_S : retry_after_s) * 1000;
    traces->rests_until_ms = clock_mono_ms() + wait_ms;
}

static void answered(void *arg, const struct https_answer *answer)
{
    struct traces *traces = arg;
    char reason[300];
    int status = answer->status;
    traces->call = NULL;
    if (status)
        (void)snprintf(reason, sizeof reason, "it answered %d", status);
    else
        (void)snprintf(reason, sizeof reason, "%s", answer->problem);
    if (status == 0 || status == 429 || (status >= 502 && status <= 504)) {
        rest(traces, answer->retry_after_s, reason);
        return;
    }
    if (traces->rest_ms)
        tell(traces, "the collector answers again", "");
    traces->rest_ms = 0;
    if (status >= 200 && status < 300)
        look_at_partial(traces, answer->body);
    else
        drop(traces, traces->count, reason);
    finish(traces);
    pump(traces);
}

/* ---- requests ---- */

static void post(struct traces *traces)
{
    struct https_request request = {.url = traces->url, .ca_file = traces->config->otlp.ca_file,
                                    .timeout_ms = traces->config->otlp.timeout_ms, .size_max = ANSWER_SIZE_MAX,
                                    .body = buf_slice(&traces->batch), .content_type = "application/json",
                                    .headers = (const char *const *)traces->headers,
                                    .may_be_clear = true}; /* the config's check knows where to */
    traces->call = https_ask(traces->https, &request, answered, traces);
}

static void pump(struct traces *traces)
{
    int64_t now_ms = clock_mono_ms();
    if (traces->call || (traces->rest_ms && now_ms < traces->rests_until_ms))
        return;
    if (!traces->is_whole) {
        fill(traces);
        bool is_due = traces->count && now_ms - traces->batch_ms >= traces->config->otlp.interval_ms;
        if (!is_full(traces) && !is_due)
            return;
        span_end(&traces->batch);
        traces->is_whole = true;
    }
    post(traces);
}

/* ---- the place ---- */

static bool load(struct traces *traces, struct follow_place *ret_place, struct error *error)
{
    json_t *state;
    bool is_read = follow_load(traces->folder_fd, state_name, &state, error);
    *ret_place = follow_place_of(state);
    json_decref(state);
    return is_read;
}

static void save(struct traces *traces)
{
    struct error error;
    struct buf text = {0};
    const struct follow_place *done = &traces->done, *saved = &traces->saved;
    bool is_news = done->inode != saved->inode || done->offset != saved->offset;
    if (!is_news || clock_mono_ms() < traces->save_ms)
        return;
    follow_put_place(done, &text);
    buf_append_text(&text, "}\n");
    /* Not synced: after a power cut it is an older place, and the spans in between have the same ids (P5). */
    bool is_saved = file_publish(traces->folder_fd, state_name, buf_slice(&text), FILE_NO_SYNC, &error);
    if (is_saved)
        traces->saved = *done;
    else
        tell(traces, "its place can't be saved: ", error.text);
    traces->save_ms = clock_mono_ms() + (is_saved ? SAVE_MS : TELL_MS);
    buf_finish(&text);
}

static void on_look(evutil_socket_t fd, short what, void *arg)
{
    struct traces *traces = arg;
    (void)fd;
    (void)what;
    pump(traces);
    save(traces);
    tell_dropped(traces, false);
}

/* ---- life ---- */

/* RFC 9110 5.6.2, 5.5. */
static bool is_header(struct slice line)
{
    ptrdiff_t colon = slice_find_byte(line, ':');
    for (size_t i = 0; i < line.size; i++) {
        unsigned char c = (unsigned char)line.data[i];
        if (c < 0x20 || c == 0x7f || ((ptrdiff_t)i < colon && (c >= 0x7f || strchr(" \"(),/:;<=>?@[\\]{}", c))))
            return false;
    }
    return colon > 0;
}

static bool take_headers(struct traces *traces, struct slice text, struct error *error)
{
    size_t count = 0;
    for (size_t number = 1; text.size; number++) {
        struct slice line = slice_trim(slice_cut(&text, '\n'));
        if (line.size == 0)
            continue;
        if (!is_header(line))
            return error_set(error, "line %zu: a header as in \"Authorization: Bearer …\" was expected", number);
        if (count == HEADERS_MAX)
            return error_set(error, "line %zu: at most %d headers are sent", number, HEADERS_MAX);
        traces->headers[count++] = slice_copy(line);
    }
    return true;
}

static bool read_headers(struct traces *traces, struct error *error)
{
    const char *path = traces->config->otlp.headers_file;
    struct buf text = {0};
    if (!path)
        return true;
    bool is_read = file_read_secret(path, "header", SECRET_SIZE_MAX, &text, error)
                   && (take_headers(traces, buf_slice(&text), error) || error_prefix(error, "%s", path));
    if (text.data)
        explicit_bzero(text.data, text.capacity);
    buf_finish(&text);
    return is_read || error_prefix(error, "otlp.headers_file");
}

/* Collectors take traces at /v1/traces; a URL with a path is meant as it stands. */
static char *whole_url(const char *url)
{
    struct buf whole = {0};
    const char *path = strchr(strstr(url, "//") + 2, '/');
    size_t size = strlen(url);
    buf_append(&whole, slice_make(url, path && !path[1] ? size - 1 : size));
    if (!path || !path[1])
        buf_append_text(&whole, "/v1/traces");
    return buf_take(&whole);
}

struct traces *traces_open(const struct config *config, struct error *error)
{
    struct traces *traces = mem_alloc(sizeof *traces);
    *traces = (struct traces){.config = config, .folder_fd = -1, .follower.fd = -1, .url = whole_url(config->otlp.url),
                              .options = {config->hostname, config->otlp.service_name, config->otlp.has_addresses}};
    if (!read_headers(traces, error))
        traces_close(&traces);
    return traces;
}

bool traces_start(struct traces *traces, struct event_base *base, void (*tell_fn)(const char *text), struct error *error)
{
    static const struct timeval interval = {.tv_usec = LOOK_MS * 1000};
    char folder[4200];
    struct follow_place place;
    (void)snprintf(folder, sizeof folder, "%s/Hooks", traces->config->root);
    traces->tell = tell_fn;
    traces->folder_fd = file_open_folder(folder, error);
    traces->https = traces->folder_fd >= 0 ? https_create(base, error) : NULL;
    if (!traces->https || !load(traces, &place, error))
        return false;
    if (place.inode == 0)
        traces->begin_ms = clock_wall_ms() - NEW_MS; /* P6 */
    follower_start(&traces->follower, traces->config, &place, LOG_BACK);
    traces->done = traces->saved = place;
    traces->look = event_new(base, -1, EV_PERSIST, on_look, traces);
    if (!traces->look || evtimer_add(traces->look, &interval) != 0)
        mem_exhausted(sizeof *traces);
    return true;
}

void traces_close(struct traces **traces)
{
    struct traces *t = *traces;
    if (!t)
        return;
    https_destroy(&t->https);
    if (t->look) {
        t->save_ms = 0;
        save(t);
        tell_dropped(t, true);
        event_free(t->look);
    }
    for (size_t i = 0; t->headers[i]; i++)
        secret_free(t->headers[i]);
    follower_finish(&t->follower);
    buf_finish(&t->batch);
    if (t->folder_fd >= 0)
        close(t->folder_fd);
    free(t->url);
    free(t);
    *traces = NULL;
}
