#include "relay/inquiry.h"
#include "relay/relay_private.h"

#include "base/mem.h"
#include "os/clock.h"
#include "store/filter.h"

#include <stdlib.h>

struct change {
    struct writer_job job;
    struct relay *relay;
    struct arena arena;         /* of the filter and the texts */
    struct store_filter filter;
    enum store_verb verb;
    struct slice route, by;     /* by: absent: an operator */
    uint64_t *ids;
    size_t count, capacity;
    relay_change_fn *fn;
    void *arg;
};

static bool note(void *arg, const struct store_message *message, const struct store_recipient *recipients,
                 size_t count)
{
    struct change *change = arg;
    (void)recipients;
    (void)count;
    if (change->count == change->capacity) {
        change->capacity = change->capacity ? 2 * change->capacity : 64;
        change->ids = mem_resize(change->ids, change->capacity * sizeof *change->ids);
    }
    change->ids[change->count++] = message->id;
    return true;
}

static bool apply_change(struct writer_job *job, struct store *store, struct error *error)
{
    struct change *change = (struct change *)job;
    change->count = 0; /* it may be the second time (writer.h G2) */
    return store_change(store, &change->filter, change->verb, change->route, note, change, error);
}

static void tell_changes(struct change *change, struct slice by)
{
    static const enum event_kind kinds[] = {
        [VERB_HOLD] = EVENT_HELD, [VERB_RELEASE] = EVENT_RELEASED, [VERB_RETRY] = EVENT_RETRIED,
        [VERB_REMOVE] = EVENT_REMOVED, [VERB_REROUTE] = EVENT_REROUTED};
    for (size_t i = 0; i < change->count; i++) {
        struct event event = EVENT(kinds[change->verb]);
        event.id = change->ids[i];
        event.note = by;
        event_put(change->relay->parts.log, &event);
        struct item *item = item_find(change->relay, change->ids[i]);
        if (item)
            item->is_stale = true; /* what is not in flight is loaded anew */
    }
    event_flush(change->relay->parts.log);
    if (change->relay->parts.node)
        node_tell_changed(change->relay->parts.node, change->ids, change->count);
}

static void change_free(struct change *change)
{
    arena_finish(&change->arena);
    free(change->ids);
    free(change);
}

static void change_counts(struct change *change)
{
    struct relay *relay = change->relay;
    struct site *site, *next;
    bool is_operator = slice_is_absent(change->by);
    tell_changes(change, is_operator ? SLICE("by an operator") : change->by);
    if (change->verb == VERB_RETRY && is_operator)
        login_resume_all(relay);
    HASH_ITER(hh, relay->sites, site, next) {
        bool is_meant = is_operator || (site->rule && site->rule->is_etrn); /* a client's word opens no other's circuit */
        if (change->verb == VERB_RETRY && is_meant)
            site->dead_until_ms = 0;
        site_touch(site);
    }
    relay->is_behind = true;
}

static void change_done(struct writer_job *job)
{
    struct change *change = (struct change *)job;
    struct relay *relay = change->relay;
    relay->changes_in_flight--;
    if (job->is_committed)
        change_counts(change);
    change->fn(change->arg, job->is_committed, change->count, &job->error);
    change_free(change);
    relay_soon(relay);
}

static bool change_parse(struct change *change, const json_t *request, struct error *error)
{
    const char *verb = json_string_value(json_object_get(request, "verb"));
    const char *route = json_string_value(json_object_get(request, "route"));
    const char *by = json_string_value(json_object_get(request, "by"));
    if (!verb || !verb_parse(slice_of(verb), &change->verb))
        return error_set(error, "no such verb");
    if (!filter_from_json(&change->arena, json_object_get(request, "filter"), &change->filter, error))
        return false;
    if (change->verb == VERB_REROUTE && !route)
        return error_set(error, "reroute needs a route");
    change->filter.now_ms = clock_wall_ms();
    change->route = route ? arena_copy(&change->arena, slice_of(route)) : SLICE_NONE;
    change->by = by ? arena_copy(&change->arena, slice_of(by)) : SLICE_NONE;
    return true;
}

bool relay_change(struct relay *relay, const json_t *request, relay_change_fn *fn, void *arg, struct error *error)
{
    struct change *change = mem_alloc(sizeof *change);
    *change = (struct change){.job = {.apply = apply_change, .done = change_done, .post = relay->parts.post}, .relay = relay,
                              .fn = fn, .arg = arg};
    if (!change_parse(change, request, error)) {
        change_free(change);
        return false;
    }
    relay->changes_in_flight++;
    writer_submit(relay->parts.writer, &change->job);
    return true;
}

static void kept_retried(struct writer_job *job)
{
    struct change *change = (struct change *)job;
    struct relay *relay = change->relay;
    if (job->is_committed) {
        tell_changes(change, SLICE("its route's user is tried again"));
        relay->is_behind = true;
        relay_soon(relay);
    }
    change_free(change);
}

void relay_retry_kept(struct relay *relay)
{
    struct change *change = mem_alloc(sizeof *change);
    *change = (struct change){.relay = relay, .verb = VERB_RETRY, .filter = FILTER_ALL};
    change->filter.state = STATE_QUEUED;
    change->filter.status = SLICE(LOGIN_REFUSED_STATUS);
    change->filter.now_ms = clock_wall_ms();
    change->job.apply = apply_change;
    change->job.done = kept_retried;
    change->job.post = relay->parts.post;
    writer_submit(relay->parts.writer, &change->job);
}

/* `mailroot login`: there is a new token. */
static void resume_routes(struct relay *relay)
{
    struct site *site, *next;
    login_resume_all(relay);
    HASH_ITER(hh, relay->sites, site, next)
        site->dead_until_ms = 0;
    relay_retry_kept(relay);
}

/* What the loop knows; the queue's totals follow, now or later. */
static void tell_status(struct relay *relay, struct control_question *question, json_t *answer)
{
    char since[25];
    struct writer_counts counts = writer_counts(relay->parts.writer);
    clock_rfc3339(relay->started_ms, since);
    json_object_set_new(answer, "version", json_string(MAILROOT_VERSION));
    json_object_set_new(answer, "since", json_string(since));
    json_object_set_new(answer, "delivered", json_integer((json_int_t)relay->delivered));
    json_object_set_new(answer, "deferred", json_integer((json_int_t)relay->deferred));
    json_object_set_new(answer, "bounced", json_integer((json_int_t)relay->bounced));
    json_object_set_new(answer, "commits", json_integer((json_int_t)counts.commits));
    paces_tell(relay, answer);
    json_object_set_new(answer, "active", json_integer((json_int_t)HASH_COUNT(relay->items)));
    json_object_set_new(answer, "sites", json_integer((json_int_t)HASH_COUNT(relay->sites)));
    json_object_set_new(answer, "connections", json_integer((json_int_t)relay->connection_count));
    json_object_set_new(answer, "suspended", login_describe_suspended(relay));
    inquiries_put_totals(relay->inquiries, question, answer);
}

/* ---- the control socket ---- */

struct asked { struct control_question *question; json_t *answer; };

static void answer_change(void *arg, bool is_done, size_t count, const struct error *error)
{
    struct asked *asked = arg;
    if (is_done)
        json_object_set_new(asked->answer, "count", json_integer((json_int_t)count));
    control_finish(asked->question, is_done, error);
    free(asked);
}

/* Answered when it is committed: an operator's word counts from the answer on, and the loop waits for no database. */
static bool ask_change(struct relay *relay, struct control_question *question, const json_t *request, json_t *answer, struct error *error)
{
    struct asked *asked = mem_alloc(sizeof *asked);
    *asked = (struct asked){question, answer};
    if (!relay_change(relay, request, answer_change, asked, error)) {
        free(asked);
        return false;
    }
    control_defer(question);
    return true;
}

/* `sendmail -q`: all that waits for a retry is due now. */
static bool flush_queue(struct relay *relay, struct control_question *question, json_t *answer, struct error *error)
{
    json_t *request = json_pack("{s:s, s:{s:s}}", "verb", "retry", "filter", "state", "queued");
    bool is_done = ask_change(relay, question, request, answer, error);
    json_decref(request);
    return is_done;
}

bool relay_control(void *arg, struct control_question *question, const json_t *request, json_t *answer, struct error *error)
{
    struct relay *relay = arg;
    const char *what = json_string_value(json_object_get(request, "do"));
    if (what && strcmp(what, "queue") == 0)
        return ask_change(relay, question, request, answer, error);
    if (what && strcmp(what, "flush") == 0)
        return flush_queue(relay, question, answer, error);
    if (what && strcmp(what, "status") == 0) {
        tell_status(relay, question, answer);
        return true;
    }
    if (what && strcmp(what, "resume") == 0) {
        resume_routes(relay);
        return true;
    }
    return inquiries_ask(relay->inquiries, question, request, answer) || error_set(error, "no such request");
}
