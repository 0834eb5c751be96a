#include "relay/relay_private.h"

#include "base/mem.h"
#include "os/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct lookup { struct item *item; unsigned recipient; };

struct item *item_find(struct relay *relay, uint64_t id)
{
    struct item *item;
    HASH_FIND(hh, relay->items, &id, sizeof id, item);
    return item;
}

bool item_holds(const struct item *item, const struct store_recipient *row)
{
    const struct store_recipient *recipients = item->queued->recipients; /* in order of their numbers */
    size_t from = 0, to = item->queued->recipient_count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (recipients[middle].number == row->number)
            return recipients[middle].attempts == row->attempts; /* else it was settled, and is due anew */
        if (recipients[middle].number < row->number)
            from = middle + 1;
        else
            to = middle;
    }
    return false;
}

static void on_route(void *arg, struct route *route)
{
    const struct lookup *lookup = arg;
    struct item *item = lookup->item;
    unsigned recipient = lookup->recipient;
    if (item->is_stale || item->relay->finished) {
        item_release(item, 1); /* still due in the queue */
        return;
    }
    if (route->kind == ROUTE_HOSTS) {
        site_add(item->relay, route, item, recipient);
        return;
    }
    if (route->kind == ROUTE_LOCAL && !item->relay->parts.is_rehearsal) {
        local_add(item->relay, route, item, recipient);
        return;
    }
    struct attempt attempt = {
        .kind = route->kind == ROUTE_FAILED ? RESULT_FAILED : RESULT_DEFERRED, .stage = "route",
        .code = route->code, .status = slice_of(route->status), .text = slice_of(route->reason),
        .connect_ms = -1, .transaction_ms = -1,
    };
    if (route->kind == ROUTE_LOCAL) {
        attempt.kind = RESULT_DELIVERED;
        attempt.stage = route->source;
        attempt.status = SLICE("2.0.0");
        attempt.text = SLICE("a file would be written here");
    }
    settle_add(settle_gathered(item), recipient, &attempt);
}

/* Its outcome, if nothing is sent to it. */
static bool is_suppressed(struct item *item, unsigned recipient)
{
    char time[25], text[500];
    struct slice address = item->queued->recipients[recipient].address;
    const struct suppression *entry = suppressed_find(item->relay->suppressed, address, clock_wall_ms());
    if (!entry)
        return false;
    clock_rfc3339(entry->added_ms, time);
    (void)snprintf(text, sizeof text, "nothing is sent there since %.10s: %s", time, entry->words);
    struct attempt attempt = {.kind = RESULT_FAILED, .stage = "suppressed", .status = SLICE("5.1.1"), .text = slice_of(text),
                              .connect_ms = -1, .transaction_ms = -1};
    settle_add(settle_gathered(item), recipient, &attempt);
    return true;
}

/* RFC 2852: what its sender doesn't want delivered any more goes back. */
static bool is_too_late(struct item *item, unsigned recipient)
{
    if (!item->policy.is_by_return || clock_wall_ms() < item->policy.by_ms)
        return false;
    char time[25], text[100];
    clock_rfc3339(item->policy.by_ms, time);
    (void)snprintf(text, sizeof text, "not delivered by %s, as its sender wished (DELIVERBY)", time);
    struct attempt attempt = {.kind = RESULT_FAILED, .stage = "deliver-by", .status = SLICE("5.4.7"), .text = slice_of(text),
                              .connect_ms = -1, .transaction_ms = -1};
    settle_add(settle_gathered(item), recipient, &attempt);
    return true;
}

void item_start(struct relay *relay, struct queued *queued)
{
    struct item *item = mem_alloc(sizeof *item);
    item->relay = relay;
    item->id = queued->message.id;
    item->queued = queued;
    policy_read(queued->message.policy, &item->policy);
    item->open_count = queued->recipient_count + 1; /* ours, until all look-ups are asked */
    if (queued->content) {
        item->content = slice_make(queued->content, queued->message.size);
        relay->content_size += queued->message.size;
        item->is_counted = true;
    }
    HASH_ADD(hh, relay->items, id, sizeof item->id, item);
    item->lookups = mem_alloc(queued->recipient_count * sizeof *item->lookups);
    for (size_t i = 0; i < queued->recipient_count; i++) {
        if (is_suppressed(item, (unsigned)i) || is_too_late(item, (unsigned)i))
            continue;
        item->lookups[i] = (struct lookup){item, (unsigned)i};
        route_lookup(relay->router, queued->recipients[i].domain, queued->recipients[i].route, on_route, &item->lookups[i]);
    }
    item_release(item, 1);
}

void item_destroy(struct item *item)
{
    struct relay *relay = item->relay;
    HASH_DELETE(hh, relay->items, item);
    if (item->is_counted)
        relay->content_size -= item->queued->message.size;
    if (item->mapped)
        munmap(item->mapped, item->queued->message.size);
    fetch_forget(item);
    arena_finish(&item->fetched);
    if (relay->parts.node && !item->is_gone)
        cluster_release(relay, item->id);
    else if ((item->was_skipped || item->is_stale) && !relay->finished)
        relay_reload(relay, item->id);
    arena_finish(&item->arena);
    queued_destroy(&item->queued);
    free(item->lookups);
    free(item);
    if (relay->is_behind)
        relay_soon(relay);
}

void item_release(struct item *item, size_t count)
{
    CHECK(item->open_count >= count);
    item->open_count -= count;
    if (item->open_count == 0)
        item_destroy(item);
}

static bool map_body(struct item *item, struct error *error)
{
    int fd = store_body_open(item->relay->parts.queue_dir, item->id, error);
    if (fd < 0)
        return false;
    struct stat is;
    size_t size = item->queued->message.size;
    /* A page that can't be had would end the process (SIGBUS) once it is looked at: here it is an error. */
    void *mapped = fstat(fd, &is) != 0 || (uint64_t)is.st_size != size ? MAP_FAILED : mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (mapped == MAP_FAILED)
        return error_set(error, "a message's body file can't be read, or has another size than it was written with");
    if (madvise(mapped, size, MADV_POPULATE_READ) != 0 && errno != EINVAL) { /* (Linux before 5.14 does not know it) */
        (void)error_set_errno(error, "a message's body file can't be read");
        munmap(mapped, size);
        return false;
    }
    item->mapped = mapped;
    item->content = slice_make(mapped, item->queued->message.size);
    return true;
}

bool item_is_here(const struct item *item)
{
    return !slice_is_absent(item->content) || !item->relay->parts.node;
}

bool item_content(struct item *item, struct slice *ret_content, struct error *error)
{
    struct store_message message;
    if (slice_is_absent(item->content)) {
        if (!item_is_here(item))
            return error_set(error, "the message can't be read from the database");
        if (item->queued->message.is_in_file) {
            if (!map_body(item, error))
                return false;
        } else {
            if (!store_read_message(item->relay->reader, &item->arena, item->id, true, &message, error))
                return false;
            item->content = message.content;
        }
    }
    *ret_content = item->content;
    return true;
}
