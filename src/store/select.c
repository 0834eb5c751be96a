#include "store/store_private.h"

#include "base/mem.h"

#include <stdlib.h>
#include <strings.h>

enum visit {
    VISIT_NEXT,
    VISIT_SKIPPED,
    VISIT_STOP,
    VISIT_FAILED
}; /* SKIPPED: doesn't count for the limit */

struct found { /* a message with at least one recipient that matches */
    struct store_message message;
    struct store_recipient *recipients; /* all of them */
    size_t count;
    bool is_match;                      /* the filter's conditions on the message hold */
};

struct walk {
    struct store *store;
    const struct store_filter *filter;
    uint64_t *ids;           /* the filter's, sorted */
    enum visit (*visit)(struct walk *walk, struct found *found, struct error *error);
    enum store_verb verb;    /* of a change */
    struct slice route;
    store_message_fn *fn;    /* may be NULL for a change */
    void *arg;
    size_t visited;
    struct arena page, one;  /* the messages of a page; one message's recipients */
};

/* `*` stands for any octets; on a mismatch only the last `*` is tried one further, which is all
 * that is needed. */
static bool glob_matches(struct slice pattern, struct slice text)
{
    size_t p = 0, t = 0, star = SIZE_MAX, resume = 0;
    while (t < text.size) {
        if (p < pattern.size && pattern.data[p] == '*') {
            star = p++;
            resume = t;
        } else if (p < pattern.size && strncasecmp(pattern.data + p, text.data + t, 1) == 0) {
            p++;
            t++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            t = ++resume;
        } else {
            return false;
        }
    }
    while (p < pattern.size && pattern.data[p] == '*')
        p++;
    return p == pattern.size;
}

static bool text_matches(struct slice pattern, struct slice text)
{
    return slice_is_absent(pattern) || (!slice_is_absent(text) && glob_matches(pattern, text));
}

static struct slice without_angles(struct slice text)
{
    if (text.size >= 2 && text.data[0] == '<' && text.data[text.size - 1] == '>')
        return slice_make(text.data + 1, text.size - 2);
    return text;
}

static int compare_ids(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static bool message_matches(const struct walk *walk, const struct store_message *m)
{
    const struct store_filter *f = walk->filter;
    int64_t age = f->now_ms - m->arrived_ms;
    return (f->id_count == 0 || bsearch(&m->id, walk->ids, f->id_count, sizeof m->id, compare_ids))
           && (f->after_id == 0 || m->id > f->after_id) && (f->older_than_ms == 0 || age > f->older_than_ms)
           && (f->younger_than_ms == 0 || age < f->younger_than_ms)
           && (f->larger_than == 0 || m->size > f->larger_than)
           && text_matches(f->sender, m->sender) && text_matches(f->pickup_name, m->pickup_name)
           && text_matches(without_angles(f->message_id), without_angles(m->message_id));
}

static bool recipient_matches(const struct walk *walk, const struct found *found,
                              const struct store_recipient *r)
{
    const struct store_filter *f = walk->filter;
    bool is_match = found->is_match && (f->state < 0 || f->state == (int)r->state)
                    && text_matches(f->recipient, r->address) && text_matches(f->domain, r->domain)
                    && text_matches(f->status, r->last_status);
    return is_match != f->is_inverted;
}

static bool any_matches(const struct walk *walk, const struct found *found)
{
    for (size_t i = 0; i < found->count; i++)
        if (recipient_matches(walk, found, &found->recipients[i]))
            return true;
    return false;
}

static enum visit visit_message(struct walk *walk, const struct store_message *message,
                                struct error *error)
{
    struct found found = {.message = *message, .is_match = message_matches(walk, message)};
    if (!found.is_match && !walk->filter->is_inverted)
        return VISIT_NEXT;
    arena_reset(&walk->one);
    if (!store_read_recipients(walk->store, &walk->one, message->id, &found.recipients,
                               &found.count, error))
        return VISIT_FAILED;
    if (!any_matches(walk, &found))
        return VISIT_NEXT;
    enum visit visit = walk->visit(walk, &found, error);
    if (visit != VISIT_NEXT)
        return visit == VISIT_SKIPPED ? VISIT_NEXT : visit;
    walk->visited++;
    return walk->visited == walk->filter->limit ? VISIT_STOP : VISIT_NEXT;
}

static bool walk_ids(struct walk *walk, struct error *error)
{
    struct store *store = walk->store;
    for (size_t i = 0; i < walk->filter->id_count; i++) {
        struct store_message message;
        bool is_found;
        if (i > 0 && walk->ids[i] == walk->ids[i - 1])
            continue;
        arena_reset(&walk->page);
        if (!store->engine->read_message(store, &walk->page, walk->ids[i], false, &message, &is_found, error))
            return false;
        enum visit visit = is_found ? visit_message(walk, &message, error) : VISIT_NEXT;
        if (visit != VISIT_NEXT)
            return visit == VISIT_STOP;
    }
    return true;
}

static bool walk_pages(struct walk *walk, struct error *error)
{
    struct store_message messages[STORE_PAGE];
    uint64_t after = walk->filter->after_id;
    size_t count;
    do {
        if (walk->store->is_stopped)
            return error_set(error, "the relay ends");
        arena_reset(&walk->page);
        if (!walk->store->engine->read_page(walk->store, &walk->page, after, messages, &count, error))
            return false;
        for (size_t i = 0; i < count; i++) {
            enum visit visit = visit_message(walk, &messages[i], error);
            if (visit != VISIT_NEXT)
                return visit == VISIT_STOP;
            after = messages[i].id;
        }
    } while (count == STORE_PAGE);
    return true;
}

static bool walk_run(struct walk *walk, struct error *error)
{
    const struct store_filter *filter = walk->filter;
    if (filter->id_count) {
        walk->ids = mem_alloc(filter->id_count * sizeof *filter->ids);
        memcpy(walk->ids, filter->ids, filter->id_count * sizeof *filter->ids);
        qsort(walk->ids, filter->id_count, sizeof *walk->ids, compare_ids);
    }
    bool is_done =
        filter->id_count && !filter->is_inverted ? walk_ids(walk, error) : walk_pages(walk, error);
    if (walk->store->engine->end_page)
        walk->store->engine->end_page(walk->store);
    free(walk->ids);
    arena_finish(&walk->page);
    arena_finish(&walk->one);
    return is_done;
}

static enum visit visit_select(struct walk *walk, struct found *found, struct error *error)
{
    (void)error;
    return walk->fn(walk->arg, &found->message, found->recipients, found->count) ? VISIT_NEXT
                                                                                 : VISIT_STOP;
}

bool store_select(struct store *store, const struct store_filter *filter, store_message_fn *fn,
                  void *arg, struct error *error)
{
    struct walk walk = {
        .store = store, .filter = filter, .visit = visit_select, .fn = fn, .arg = arg};
    return walk_run(&walk, error);
}

static bool change(struct walk *walk, struct store_recipient *r, const struct store_change *change, struct error *error)
{
    if (change->state >= 0)
        r->state = (enum store_state)change->state;
    if (change->next_ms >= 0)
        r->next_ms = change->next_ms;
    if (!slice_is_absent(change->route))
        r->route = change->route;
    return walk->store->engine->change(walk->store, r->message_id, r->number, change, error);
}

static bool change_hold(struct walk *walk, struct store_recipient *r, struct error *error)
{
    return r->state == STATE_HELD || change(walk, r, &(struct store_change){STATE_HELD, -1, SLICE_NONE}, error);
}

static bool change_release(struct walk *walk, struct store_recipient *r, struct error *error)
{
    return r->state == STATE_QUEUED
           || change(walk, r, &(struct store_change){STATE_QUEUED, walk->filter->now_ms, SLICE_NONE}, error);
}

static bool change_remove(struct walk *walk, struct store_recipient *r, struct error *error)
{
    return change(walk, r, &(struct store_change){STATE_REMOVED, -1, SLICE_NONE}, error);
}

static bool change_retry(struct walk *walk, struct store_recipient *r, struct error *error)
{
    return change(walk, r, &(struct store_change){-1, walk->filter->now_ms, SLICE_NONE}, error);
}

static bool change_reroute(struct walk *walk, struct store_recipient *r, struct error *error)
{
    return change(walk, r, &(struct store_change){-1, walk->filter->now_ms, walk->route}, error);
}

static bool (*const changes[])(struct walk *walk, struct store_recipient *r,
                               struct error *error) = {
    [VERB_HOLD] = change_hold,     [VERB_RELEASE] = change_release, [VERB_RETRY] = change_retry,
    [VERB_REMOVE] = change_remove, [VERB_REROUTE] = change_reroute,
};

static enum visit visit_change(struct walk *walk, struct found *found, struct error *error)
{
    size_t count = 0;
    for (size_t i = 0; i < found->count; i++) {
        struct store_recipient *r = &found->recipients[i];
        bool is_open = r->state == STATE_QUEUED || r->state == STATE_HELD;
        if (!is_open || !recipient_matches(walk, found, r))
            continue;
        count++;
        if (!changes[walk->verb](walk, r, error))
            return VISIT_FAILED;
    }
    if (count == 0)
        return VISIT_SKIPPED;
    const struct store_engine *engine = walk->store->engine;
    if (walk->verb == VERB_REMOVE && !engine->finish_message(walk->store, found->message.id, NULL, error))
        return VISIT_FAILED;
    if (engine->changed && !engine->changed(walk->store, found->message.id, error))
        return VISIT_FAILED;
    if (walk->fn && !walk->fn(walk->arg, &found->message, found->recipients, found->count))
        return VISIT_STOP;
    return VISIT_NEXT;
}

bool store_change(struct store *store, const struct store_filter *filter, enum store_verb verb,
                  struct slice route, store_message_fn *fn, void *arg, struct error *error)
{
    CHECK(store->is_in_transaction && (size_t)verb < COUNT_OF(changes) && filter->now_ms >= 0);
    struct walk walk = {.store = store,
                        .filter = filter,
                        .visit = visit_change,
                        .verb = verb,
                        .route = route,
                        .fn = fn,
                        .arg = arg};
    return walk_run(&walk, error);
}
