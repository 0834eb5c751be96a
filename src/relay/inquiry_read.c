#include "relay/inquiry_private.h"

#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "os/clock.h"
#include "store/describe.h"
#include "store/filter.h"

#include <stdlib.h>

enum { LISTED_MAX = 500, DESTINATIONS_MAX = 200 };

struct listing { struct buf out; size_t count, limit; uint64_t last_id; };

static bool list_one(void *arg, const struct store_message *message, const struct store_recipient *recipients, size_t count)
{
    struct listing *listing = arg;
    if (listing->count++ == listing->limit)
        return false; /* one more than asked for: there are more */
    listing->last_id = message->id;
    describe_message(&listing->out, message, recipients, count);
    json_close(&listing->out, '}');
    return true;
}

static bool add_json(json_t *answer, const char *key, struct buf *text, struct error *error)
{
    json_t *value = json_loadb(buf_text(text), text->size, JSON_ALLOW_NUL, NULL);
    buf_finish(text);
    return value ? json_object_set_new(answer, key, value) == 0 : error_set(error, "what was found is no JSON");
}

bool inquiry_list(const struct inquiry_source *source, const json_t *request, json_t *answer, struct error *error)
{
    struct arena arena = {0};
    struct store_filter filter;
    struct listing listing = {0};
    bool is_done = filter_from_json(&arena, json_object_get(request, "filter"), &filter, error);
    if (is_done) {
        filter.now_ms = clock_wall_ms();
        listing.limit = filter.limit && filter.limit < LISTED_MAX ? filter.limit : LISTED_MAX;
        filter.limit = 0;
        json_open(&listing.out, '[');
        is_done = store_select(source->store, &filter, list_one, &listing, error);
        json_close(&listing.out, ']');
    }
    arena_finish(&arena);
    if (!is_done) {
        buf_finish(&listing.out);
        return false;
    }
    json_object_set_new(answer, "has_more", json_boolean(listing.count > listing.limit));
    if (listing.count > listing.limit) {
        char next[17];
        store_id_text(listing.last_id, next);
        json_object_set_new(answer, "next", json_string(next));
    }
    return add_json(answer, "messages", &listing.out, error);
}

bool inquiry_show(const struct inquiry_source *source, const json_t *request, json_t *answer, struct error *error)
{
    struct arena arena = {0};
    struct store_message message;
    struct store_recipient *recipients;
    struct buf out = {0};
    struct slice header;
    size_t count;
    uint64_t id;
    const char *text = json_string_value(json_object_get(request, "id"));
    if (!text || !store_id_parse(slice_of(text), &id))
        return error_set(error, "a queue id of 16 hex digits was expected");
    bool is_done = store_read_message(source->store, &arena, id, false, &message, error)
                   && store_read_recipients(source->store, &arena, id, &recipients, &count, error)
                   && describe_header(source->store, source->queue_dir, id, &arena, &header, error);
    if (is_done) {
        describe_message(&out, &message, recipients, count);
        json_put_text(&out, "header", header);
        json_close(&out, '}');
        is_done = add_json(answer, "message", &out, error);
    }
    buf_finish(&out);
    arena_finish(&arena);
    return is_done;
}

/* ---- totals ---- */

bool inquiry_totals(const struct inquiry_source *source, const json_t *request, json_t *answer, struct error *error)
{
    struct store_totals totals;
    json_t *nodes = NULL; /* of a shared queue */
    (void)request;
    if (!store_totals(source->store, clock_wall_ms(), &totals, error) || !describe_nodes(source->store, &nodes, error))
        return false;
    json_object_set_new(answer, "messages", json_integer((json_int_t)totals.messages));
    json_object_set_new(answer, "recipients", json_integer((json_int_t)totals.recipients));
    json_object_set_new(answer, "held", json_integer((json_int_t)totals.held));
    json_object_set_new(answer, "due", json_integer((json_int_t)totals.due));
    json_object_set_new(answer, "octets", json_integer((json_int_t)totals.bytes));
    json_object_set_new(answer, "oldest_ms", json_integer(totals.messages ? (json_int_t)totals.oldest_ms : 0));
    if (nodes)
        json_object_set_new(answer, "nodes", nodes);
    return true;
}

/* ---- destinations ---- */

struct destination {
    char *domain;              /* key */
    size_t messages, recipients, held;
    unsigned attempts;
    int64_t oldest_ms, next_ms, last_attempt_ms;
    struct slice status, reply, host; /* of the latest attempt; in the arena */
    UT_hash_handle hh;
};

struct summing { struct arena arena; struct destination *all; size_t count, max; bool is_partial; };

static struct destination *destination_get(struct summing *summing, struct slice domain)
{
    struct destination *found;
    HASH_FIND(hh, summing->all, domain.data, domain.size, found);
    if (found)
        return found;
    found = arena_alloc(&summing->arena, sizeof *found);
    found->domain = arena_text(&summing->arena, domain);
    found->oldest_ms = found->next_ms = INT64_MAX;
    HASH_ADD_KEYPTR(hh, summing->all, found->domain, domain.size, found);
    return found;
}

static void sum_recipient(struct summing *summing, const struct store_message *message, const struct store_recipient *r)
{
    struct destination *d = destination_get(summing, r->domain);
    d->recipients++;
    d->held += r->state == STATE_HELD;
    d->attempts += r->attempts;
    if (message->arrived_ms < d->oldest_ms)
        d->oldest_ms = message->arrived_ms;
    if (r->state == STATE_QUEUED && r->next_ms < d->next_ms)
        d->next_ms = r->next_ms;
    if (r->last_attempt_ms <= d->last_attempt_ms || slice_is_absent(r->last_reply))
        return;
    d->last_attempt_ms = r->last_attempt_ms;
    d->status = arena_copy(&summing->arena, r->last_status);
    d->reply = arena_copy(&summing->arena, r->last_reply);
    d->host = arena_copy(&summing->arena, r->last_host);
}

static bool sum_message(void *arg, const struct store_message *message, const struct store_recipient *recipients,
                        size_t count)
{
    struct summing *summing = arg;
    if (summing->count++ == summing->max) {
        summing->is_partial = true;
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        bool is_new = true;
        if (recipients[i].state != STATE_QUEUED && recipients[i].state != STATE_HELD)
            continue;
        for (size_t k = 0; k < i && is_new; k++)
            is_new = !slice_equals(recipients[k].domain, recipients[i].domain);
        sum_recipient(summing, message, &recipients[i]);
        destination_get(summing, recipients[i].domain)->messages += is_new;
    }
    return true;
}

static int by_size(const struct destination *a, const struct destination *b)
{
    return (a->messages < b->messages) - (a->messages > b->messages);
}

static void put_destination(struct buf *out, const struct destination *d)
{
    json_open(out, '{');
    json_put_text(out, "domain", slice_of(d->domain));
    json_put_number(out, "messages", (int64_t)d->messages);
    json_put_number(out, "recipients", (int64_t)d->recipients);
    json_put_number(out, "held", (int64_t)d->held);
    json_put_number(out, "attempts", d->attempts);
    json_put_number(out, "oldest_ms", d->oldest_ms == INT64_MAX ? 0 : d->oldest_ms);
    json_put_number(out, "next_ms", d->next_ms == INT64_MAX ? 0 : d->next_ms);
    json_put_text(out, "status", d->status);
    json_put_text(out, "reply", d->reply);
    json_put_text(out, "host", d->host);
    json_close(out, '}');
}

bool inquiry_destinations(const struct inquiry_source *source, const json_t *request, json_t *answer, struct error *error)
{
    (void)request;
    struct summing summing = {.max = source->summed_max};
    struct destination *d, *next;
    struct buf out = {0};
    size_t count = 0;
    struct store_filter filter = FILTER_ALL;
    filter.now_ms = clock_wall_ms();
    bool is_done = store_select(source->store, &filter, sum_message, &summing, error);
    HASH_SORT(summing.all, by_size);
    json_open(&out, '[');
    HASH_ITER(hh, summing.all, d, next)
        if (count++ < DESTINATIONS_MAX)
            put_destination(&out, d);
    json_close(&out, ']');
    HASH_CLEAR(hh, summing.all);
    json_object_set_new(answer, "domains", json_integer((json_int_t)count));
    json_object_set_new(answer, "is_partial", json_boolean(summing.is_partial));
    arena_finish(&summing.arena);
    if (is_done)
        return add_json(answer, "destinations", &out, error);
    buf_finish(&out);
    return false;
}
