#include "outcome/webhook_private.h"

#include "base/base64.h"
#include "base/mem.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/https.h"
#include "outcome/history.h"

#include <event2/event.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { WINDOW_MAX = 1000, REFUSALS_MAX = 5, LOOK_MS = 200, SAVE_MS = 200, ANSWER_SIZE_MAX = 64 * 1024, RETRY_AFTER_MAX_S = 3600,
       NEW_HOOK_MS = 60 * 1000, SAVE_SIZE = 1 << 20, LOG_BACK = 64 << 20 };

struct webhooks {
    const struct config *config;
    struct https *https;
    struct event *look;
    int folder_fd;
    void (*tell)(const char *text);
    int64_t save_ms;           /* monotonic: not before */
    bool is_failing;           /* the state can't be saved, and that was told */
    size_t count;
    struct hook hooks[];
};

static void pump(struct hook *hook);

static void tell(const struct hook *hook, const char *what, const char *about)
{
    struct error line;
    (void)error_set(&line, "hook \"%s\": %s%s", hook->config->name, what, about);
    hook->all->tell(line.text);
}

/* ---- the window ---- */

static bool is_wanted(const struct config_hook *config, const char *kind)
{
    static const char *const outcomes[] = {"delivered", "deferred", "bounced", "expired", "refused", "badmail"};
    for (size_t i = 0; i < config->events.count; i++)
        if (strcmp(config->events.items[i], kind) == 0)
            return true;
    for (size_t i = 0; config->events.count == 0 && i < COUNT_OF(outcomes); i++)
        if (strcmp(outcomes[i], kind) == 0)
            return true;
    return false;
}

/* The same line is the same event, in whichever file and run it is read. */
static void name_event(struct slice line, char ret_id[WEBHOOK_ID_SIZE + 1])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    CHECK(EVP_Digest(line.data, line.size, digest, &size, EVP_sha256(), NULL) == 1);
    memcpy(ret_id, "evt_", 5);
    for (size_t i = 0; i < (WEBHOOK_ID_SIZE - 4) / 2; i++)
        (void)snprintf(ret_id + 4 + 2 * i, 3, "%02x", digest[i]);
}

static void append(struct hook *hook, struct hook_event *event)
{
    for (struct hook_event *other = hook->first; other && *event->key; other = other->next)
        if (!other->is_done && strcmp(other->key, event->key) == 0)
            event->same = other; /* the last of them */
    *hook->last = event;
    hook->last = &event->next;
    hook->count++;
}

static void take_line(struct hook *hook, struct slice line)
{
    struct taken *known;
    char id[WEBHOOK_ID_SIZE + 1];
    json_t *json = json_loadb(line.data, line.size, 0, NULL);
    const char *kind = history_text(json, "event"), *time = history_text(json, "time"), *key = history_text(json, "id");
    int64_t time_ms = history_time_ms(json);
    name_event(line, id);
    HASH_FIND_STR(hook->taken, id, known);
    if (json && is_wanted(hook->config, kind) && time_ms >= hook->begin_ms && !known) {
        struct hook_event *event = mem_alloc(sizeof *event);
        *event = (struct hook_event){.hook = hook, .key = mem_copy_text(*key ? key : history_text(json, "pickup")),
                                     .place = hook->follower.at, .time_ms = time_ms};
        event->place.offset -= line.size + 1;
        memcpy(event->id, id, sizeof id);
        buf_printf(&event->body, "{\"type\":\"%s\",\"timestamp\":\"%s\",\"data\":", kind, time);
        buf_append(&event->body, line);
        buf_append_byte(&event->body, '}');
        append(hook, event);
    }
    json_decref(json);
}

static void event_free_one(struct hook_event *event)
{
    buf_finish(&event->body);
    free(event->key);
    free(event);
}

static void fill(struct hook *hook)
{
    struct slice line;
    while (hook->count < WINDOW_MAX && follower_next(&hook->follower, &line))
        take_line(hook, line);
    const struct follow_place *at = &hook->follower.at;
    if (at->inode != hook->saved.inode || at->offset > hook->saved.offset + SAVE_SIZE)
        hook->is_changed = true; /* not to read it all again, nor to miss its rotation */
    if (!hook->follower.is_lost)
        return;
    hook->follower.is_lost = false;
    tell(hook, "the log was rotated away before all of it was sent: ", "events are missing");
}

static void finish_event(struct hook_event *event)
{
    struct hook *hook = event->hook;
    event->is_done = true;
    hook->is_changed = true;
    for (struct hook_event *other = event->next; other; other = other->next)
        if (other->same == event)
            other->same = NULL;
    while (hook->first && hook->first->is_done) {
        struct hook_event *gone = hook->first;
        hook->first = gone->next;
        if (!hook->first)
            hook->last = &hook->first;
        hook->count--;
        event_free_one(gone);
    }
}

/* ---- answers ---- */

/* False: it can't be, and stays. */
static bool set_aside(struct hook_event *event, const char *reason)
{
    struct error error;
    char about[160];
    (void)snprintf(about, sizeof about, "%s: %.100s", event->id, reason);
    if (!hook_set_aside(event, event->hook->all->folder_fd, reason, &error)) {
        tell(event->hook, "an event can't be set aside and is tried again: ", error.text);
        event->due_ms = clock_mono_ms() + event->hook->config->retry_longest_ms;
        return false;
    }
    tell(event->hook, "not delivered, set aside: ", about);
    finish_event(event);
    return true;
}

static int64_t longer(const struct hook *hook, int64_t wait_ms)
{
    int64_t next_ms = wait_ms ? 2 * wait_ms : hook->config->retry_first_ms;
    return next_ms > hook->config->retry_longest_ms ? hook->config->retry_longest_ms : next_ms;
}

/* The first that is older than give_up and not under way. */
static struct hook_event *find_old(const struct hook *hook, int64_t wall_ms)
{
    for (struct hook_event *event = hook->first; event; event = event->next)
        if (!event->is_done && !event->call && wall_ms - event->time_ms > hook->config->give_up_ms)
            return event;
    return NULL;
}

/* The endpoint as a whole doesn't work (B3). */
static void rest(struct hook *hook, int64_t retry_after_s, const char *reason)
{
    int64_t now_ms = clock_mono_ms(), wall_ms = clock_wall_ms();
    if (hook->rest_ms == 0)
        tell(hook, "the endpoint does not take events: ", reason);
    hook->rest_ms = longer(hook, hook->rest_ms);
    int64_t wait_ms = hook->rest_ms - hook->rest_ms / 8 + (int64_t)((uint64_t)clock_wall_ns() % (uint64_t)(hook->rest_ms / 4 + 1));
    if (retry_after_s > 0 && retry_after_s * 1000 > wait_ms)
        wait_ms = (retry_after_s > RETRY_AFTER_MAX_S ? RETRY_AFTER_MAX_S : retry_after_s) * 1000;
    hook->rests_until_ms = now_ms + wait_ms;
    struct hook_event *old;
    while ((old = find_old(hook, wall_ms)) != NULL && set_aside(old, reason)) /* B4 */
        ;
}

static void refused(struct hook_event *event, const char *reason)
{
    struct hook *hook = event->hook;
    int64_t wait_ms = 0;
    hook->rest_ms = 0; /* it answers */
    if (++event->refusals >= REFUSALS_MAX) {
        (void)set_aside(event, reason); /* it stays and is tried once more */
        return;
    }
    for (unsigned i = 0; i < event->refusals; i++)
        wait_ms = longer(hook, wait_ms);
    event->due_ms = clock_mono_ms() + wait_ms;
}

static void answered(void *arg, const struct https_answer *answer)
{
    struct hook_event *event = arg;
    struct hook *hook = event->hook;
    char reason[300];
    int status = answer->status;
    event->call = NULL;
    hook->in_flight--;
    if (status)
        (void)snprintf(reason, sizeof reason, "it answered %d", status);
    else
        (void)snprintf(reason, sizeof reason, "%s", answer->problem);
    if (status >= 200 && status < 300) {
        hook->rest_ms = 0;
        finish_event(event);
    } else if (status >= 400 && status < 500 && status != 408 && status != 425 && status != 429) {
        refused(event, reason);
    } else {
        rest(hook, answer->retry_after_s, reason);
    }
    pump(hook);
}

/* ---- requests ---- */

static void sign(const struct hook_event *event, int64_t time_s, struct buf *out)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    struct buf content = {0};
    const struct buf *secret = &event->hook->secret;
    buf_printf(&content, "%s.%lld.", event->id, (long long)time_s);
    buf_append(&content, buf_slice(&event->body));
    CHECK(HMAC(EVP_sha256(), secret->data, (int)secret->size, (const unsigned char *)content.data, content.size, digest, &size));
    buf_append_text(out, "webhook-signature: v1,");
    base64_encode(slice_make((const char *)digest, size), out);
    buf_finish(&content);
}

static void post(struct hook_event *event)
{
    struct hook *hook = event->hook;
    struct buf signature = {0};
    char id[80], timestamp[60];
    int64_t time_s = clock_wall_ms() / 1000;
    (void)snprintf(id, sizeof id, "webhook-id: %s", event->id);
    (void)snprintf(timestamp, sizeof timestamp, "webhook-timestamp: %lld", (long long)time_s);
    sign(event, time_s, &signature);
    const char *const headers[] = {id, timestamp, buf_text(&signature), NULL};
    struct https_request request = {.url = hook->config->url, .ca_file = hook->config->ca_file, .timeout_ms = hook->config->timeout_ms,
                                    .size_max = ANSWER_SIZE_MAX, .body = buf_slice(&event->body), .content_type = "application/json",
                                    .headers = headers, .may_be_clear = true}; /* the config's check knows where to */
    event->call = https_ask(hook->all->https, &request, answered, event);
    hook->in_flight++;
    buf_finish(&signature);
}

static void pump(struct hook *hook)
{
    int64_t now_ms = clock_mono_ms();
    size_t at_once = hook->rest_ms ? 1 : (size_t)hook->config->parallel; /* one probes an endpoint that failed */
    if (hook->rest_ms && now_ms < hook->rests_until_ms)
        return;
    fill(hook);
    for (struct hook_event *event = hook->first; event && hook->in_flight < at_once; event = event->next)
        if (!event->is_done && !event->call && !event->same && event->due_ms <= now_ms)
            post(event);
}

/* ---- life ---- */

static void save(struct webhooks *hooks)
{
    struct error error;
    bool is_saved = true;
    for (size_t i = 0; i < hooks->count; i++) {
        struct hook *hook = &hooks->hooks[i];
        if (!hook->is_changed || hook_save(hook, hooks->folder_fd, &error))
            continue;
        if (!hooks->is_failing)
            tell(hook, "its place can't be saved: ", error.text);
        is_saved = false;
    }
    hooks->is_failing = !is_saved;
    hooks->save_ms = clock_mono_ms() + SAVE_MS;
}

static void on_look(evutil_socket_t fd, short what, void *arg)
{
    struct webhooks *hooks = arg;
    (void)fd;
    (void)what;
    for (size_t i = 0; i < hooks->count; i++)
        pump(&hooks->hooks[i]);
    if (clock_mono_ms() >= hooks->save_ms)
        save(hooks);
}

struct webhooks *webhooks_open(const struct config *config, struct error *error)
{
    struct webhooks *hooks = mem_alloc(sizeof *hooks + config->hook_count * sizeof *hooks->hooks);
    hooks->config = config;
    hooks->folder_fd = -1;
    hooks->count = config->hook_count;
    for (size_t i = 0; i < hooks->count; i++) {
        struct hook *hook = &hooks->hooks[i];
        *hook = (struct hook){.all = hooks, .config = &config->hooks[i], .last = &hook->first, .follower.fd = -1, .is_changed = true};
        if (!hook_read_secret(hook, error)) {
            webhooks_close(&hooks);
            return NULL;
        }
    }
    return hooks;
}

static bool start_hook(struct hook *hook, struct error *error)
{
    struct follow_place place;
    if (!hook_load(hook, hook->all->folder_fd, &place, error))
        return false;
    if (place.inode == 0)
        hook->begin_ms = clock_wall_ms() - NEW_HOOK_MS; /* B6 */
    follower_start(&hook->follower, hook->all->config, &place, LOG_BACK);
    return true;
}

bool webhooks_start(struct webhooks *hooks, struct event_base *base, void (*tell_fn)(const char *text), struct error *error)
{
    static const struct timeval interval = {.tv_usec = LOOK_MS * 1000};
    char folder[4200];
    (void)snprintf(folder, sizeof folder, "%s/Hooks", hooks->config->root);
    hooks->tell = tell_fn;
    hooks->folder_fd = file_open_folder(folder, error);
    hooks->https = hooks->folder_fd >= 0 ? https_create(base, error) : NULL;
    if (!hooks->https)
        return false;
    for (size_t i = 0; i < hooks->count; i++)
        if (!start_hook(&hooks->hooks[i], error))
            return false;
    hooks->look = event_new(base, -1, EV_PERSIST, on_look, hooks);
    if (!hooks->look || evtimer_add(hooks->look, &interval) != 0)
        mem_exhausted(sizeof *hooks);
    on_look(-1, 0, hooks);
    return true;
}

void webhooks_close(struct webhooks **webhooks)
{
    struct webhooks *hooks = *webhooks;
    if (!hooks)
        return;
    https_destroy(&hooks->https);
    if (hooks->look) {
        save(hooks);
        event_free(hooks->look);
    }
    for (size_t i = 0; i < hooks->count; i++) {
        struct hook *hook = &hooks->hooks[i];
        if (!hook->all)
            break;
        while (hook->first) {
            struct hook_event *event = hook->first;
            hook->first = event->next;
            event_free_one(event);
        }
        hook_forget_taken(hook);
        follower_finish(&hook->follower);
        if (hook->secret.size)
            OPENSSL_cleanse(hook->secret.data, hook->secret.size);
        buf_finish(&hook->secret);
    }
    if (hooks->folder_fd >= 0)
        close(hooks->folder_fd);
    free(hooks);
    *webhooks = NULL;
}
