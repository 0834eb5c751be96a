#include "store/sqlite_private.h"

#include "base/mem.h"

#include <stdlib.h>
#include <strings.h>

enum { PAGE_MESSAGES = 128 };

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
                    && text_matches(f->recipient, r->address) && text_matches(f->domain, r->domain);
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
    for (size_t i = 0; i < walk->filter->id_count; i++) {
        int64_t known;
        if (i > 0 && walk->ids[i] == walk->ids[i - 1])
            continue;
        sqlite3_stmt *s = statement_start(walk->store, STATEMENT_HAS_MESSAGE, error);
        if (!s)
            return false;
        bind_id(s, 1, walk->ids[i]);
        if (!statement_number(walk->store, s, 0, &known, error))
            return false;
        if (known == 0)
            continue;
        struct store_message message;
        arena_reset(&walk->page);
        if (!store_read_message(walk->store, &walk->page, walk->ids[i], false, &message, error))
            return false;
        enum visit visit = visit_message(walk, &message, error);
        if (visit != VISIT_NEXT)
            return visit == VISIT_STOP;
    }
    return true;
}

/* Reads the page behind `after`; nothing of the database stays locked when it returns. */
static bool read_page(struct walk *walk, uint64_t after,
                      struct store_message messages[PAGE_MESSAGES], size_t *ret_count,
                      struct error *error)
{
    size_t count = 0;
    sqlite3_stmt *s = statement_start(walk->store, STATEMENT_READ_PAGE, error);
    if (!s)
        return false;
    bind_id(s, 1, after);
    bind_id(s, 2, PAGE_MESSAGES);
    arena_reset(&walk->page);
    enum step step;
    while ((step = statement_step(walk->store, s, error)) == STEP_ROW) {
        CHECK(count < PAGE_MESSAGES);
        column_message(s, &messages[count]);
        keep_message(&walk->page, &messages[count++]);
    }
    *ret_count = count;
    return step == STEP_END;
}

static bool walk_pages(struct walk *walk, struct error *error)
{
    struct store_message messages[PAGE_MESSAGES];
    uint64_t after = walk->filter->after_id;
    size_t count;
    do {
        if (walk->store->is_stopped)
            return error_set(error, "the relay ends");
        if (!read_page(walk, after, messages, &count, error))
            return false;
        for (size_t i = 0; i < count; i++) {
            enum visit visit = visit_message(walk, &messages[i], error);
            if (visit != VISIT_NEXT)
                return visit == VISIT_STOP;
            after = messages[i].id;
        }
    } while (count == PAGE_MESSAGES);
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

static bool change_state(struct walk *walk, struct store_recipient *r, enum store_state state,
                         struct error *error)
{
    sqlite3_stmt *s = statement_start(walk->store, STATEMENT_CHANGE_STATE, error);
    if (!s)
        return false;
    r->state = state;
    bind_id(s, 1, r->message_id);
    bind_id(s, 2, r->number);
    bind_id(s, 3, state);
    bind_slice(s, 4, SLICE_NONE);
    if (state == STATE_QUEUED) {
        r->next_ms = walk->filter->now_ms;
        bind_id(s, 4, (uint64_t)r->next_ms);
    }
    return statement_run(walk->store, s, error);
}

static bool change_hold(struct walk *walk, struct store_recipient *r, struct error *error)
{
    return r->state == STATE_HELD || change_state(walk, r, STATE_HELD, error);
}

static bool change_release(struct walk *walk, struct store_recipient *r, struct error *error)
{
    return r->state == STATE_QUEUED || change_state(walk, r, STATE_QUEUED, error);
}

static bool change_remove(struct walk *walk, struct store_recipient *r, struct error *error)
{
    return change_state(walk, r, STATE_REMOVED, error);
}

static bool change_retry(struct walk *walk, struct store_recipient *r, struct error *error)
{
    sqlite3_stmt *s = statement_start(walk->store, STATEMENT_CHANGE_DUE, error);
    if (!s)
        return false;
    r->next_ms = walk->filter->now_ms;
    bind_id(s, 1, r->message_id);
    bind_id(s, 2, r->number);
    bind_id(s, 3, (uint64_t)r->next_ms);
    return statement_run(walk->store, s, error);
}

static bool change_reroute(struct walk *walk, struct store_recipient *r, struct error *error)
{
    sqlite3_stmt *s = statement_start(walk->store, STATEMENT_CHANGE_ROUTE, error);
    if (!s)
        return false;
    r->next_ms = walk->filter->now_ms;
    r->route = walk->route;
    bind_id(s, 1, r->message_id);
    bind_id(s, 2, r->number);
    bind_id(s, 3, (uint64_t)r->next_ms);
    bind_slice(s, 4, r->route);
    return statement_run(walk->store, s, error);
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
    bool is_gone;
    if (walk->verb == VERB_REMOVE
        && !store_finish_message(walk->store, found->message.id, &is_gone, error))
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

bool store_totals(struct store *store, int64_t now_ms, struct store_totals *ret_totals,
                  struct error *error)
{
    struct store_totals totals = {0};
    int64_t due;
    sqlite3_stmt *s = statement_start(store, STATEMENT_TOTAL_MESSAGES, error);
    if (!s || statement_step(store, s, error) != STEP_ROW)
        return false;
    totals.messages = (uint64_t)sqlite3_column_int64(s, 0);
    totals.bytes = (uint64_t)sqlite3_column_int64(s, 1);
    totals.oldest_ms = sqlite3_column_int64(s, 2);
    sqlite3_reset(s);
    s = statement_start(store, STATEMENT_TOTAL_RECIPIENTS, error);
    if (!s || statement_step(store, s, error) != STEP_ROW)
        return false;
    totals.recipients = (uint64_t)sqlite3_column_int64(s, 0);
    totals.queued = (uint64_t)sqlite3_column_int64(s, 1);
    totals.held = (uint64_t)sqlite3_column_int64(s, 2);
    sqlite3_reset(s);
    s = statement_start(store, STATEMENT_TOTAL_DUE, error);
    if (!s)
        return false;
    bind_id(s, 1, (uint64_t)now_ms);
    if (!statement_number(store, s, 0, &due, error))
        return false;
    totals.due = (uint64_t)due;
    *ret_totals = totals;
    return true;
}
