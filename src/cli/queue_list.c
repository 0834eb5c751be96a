#include "cli/queue.h"

#include "base/json.h"
#include "message/envelope.h"
#include "store/describe.h"

#include <stdio.h>

struct listing {
    struct queue_request *request;
    struct store *store;
    struct buf out;
    uint64_t messages, recipients, octets;
    struct error error; /* of showing one of them */
    bool is_failed;
};

static void put_field(struct buf *out, const char *label, struct slice text)
{
    if (slice_is_absent(text))
        return;
    buf_printf(out, "%-12s ", label);
    put_clean(out, text);
    buf_append_byte(out, '\n');
}

static void put_address(struct buf *out, struct slice address)
{
    if (address.size == 0)
        buf_append_text(out, "<>");
    put_clean(out, address);
}

/* "queued, next in 4m (2 attempts)" */
static void put_state(struct buf *out, const struct store_recipient *r, int64_t now_ms)
{
    buf_append_text(out, state_name(r->state));
    if (r->state == STATE_QUEUED && r->next_ms <= now_ms)
        buf_append_text(out, ", due now");
    if (r->state == STATE_QUEUED && r->next_ms > now_ms) {
        buf_append_text(out, ", next in ");
        put_age(out, r->next_ms - now_ms);
    }
    if (r->attempts)
        buf_printf(out, " (%u attempt%s)", r->attempts, r->attempts == 1 ? "" : "s");
    if (!slice_is_absent(r->route)) {
        buf_append_text(out, " via ");
        put_clean(out, r->route);
    }
}

static void put_recipient(struct buf *out, const struct store_recipient *r, int64_t now_ms)
{
    buf_append_text(out, "    ");
    put_address(out, r->address);
    buf_append_text(out, "  ");
    put_state(out, r, now_ms);
    buf_append_byte(out, '\n');
    if (slice_is_absent(r->last_reply))
        return;
    buf_append_text(out, "        ");
    put_clean(out, r->last_reply);
    if (r->last_host.size) {
        buf_append_text(out, " [");
        put_clean(out, r->last_host);
        buf_append_byte(out, ']');
    }
    buf_append_byte(out, '\n');
}

static bool list_message(void *arg, const struct store_message *m,
                         const struct store_recipient *recipients, size_t count)
{
    struct listing *listing = arg;
    struct buf *out = &listing->out;
    int64_t now_ms = listing->request->filter.now_ms;
    listing->messages++;
    listing->recipients += count;
    listing->octets += m->size;
    if (listing->request->is_json) {
        describe_message(out, m, recipients, count);
        json_close(out, '}');
        return true;
    }
    char id[17];
    struct buf size = {0}, age = {0};
    store_id_text(m->id, id);
    put_size(&size, m->size);
    put_age(&age, now_ms - m->arrived_ms);
    buf_printf(out, "%s  %6s  %7s  ", id, buf_text(&size), buf_text(&age));
    put_address(out, m->sender);
    buf_append_byte(out, '\n');
    for (size_t i = 0; i < count; i++)
        put_recipient(out, &recipients[i], now_ms);
    buf_finish(&size);
    buf_finish(&age);
    return true;
}

static void put_header(struct buf *out, struct slice header)
{
    buf_append_byte(out, '\n');
    while (header.size) {
        struct slice line = slice_cut(&header, '\n');
        if (line.size && line.data[line.size - 1] == '\r')
            line.size--;
        put_clean(out, line);
        buf_append_byte(out, '\n');
    }
}

static void put_message(struct buf *out, const struct store_message *m)
{
    static const char *const ret_names[] = {[RET_FULL] = "FULL", [RET_HDRS] = "HDRS"};
    char id[17];
    store_id_text(m->id, id);
    put_field(out, "id", slice_of(id));
    buf_printf(out, "%-12s ", "arrived");
    put_time(out, m->arrived_ms);
    buf_printf(out, "\n%-12s %zu octets%s\n%-12s ", "size", m->size,
               m->is_in_file ? ", in a body file" : "", "sender");
    put_address(out, m->sender);
    buf_append_byte(out, '\n');
    put_field(out, "envid", m->envid);
    if (m->ret == RET_FULL || m->ret == RET_HDRS)
        put_field(out, "returns", slice_of(ret_names[m->ret]));
    put_field(out, "pickup file", m->pickup_name);
    put_field(out, "owner", m->owner);
    put_field(out, "message-id", m->message_id);
    put_field(out, "subject", m->subject);
    if (m->priority)
        put_field(out, "priority", m->priority < 0 ? SLICE("low") : SLICE("high"));
}

static bool show_message(void *arg, const struct store_message *m,
                         const struct store_recipient *recipients, size_t count)
{
    struct listing *listing = arg;
    struct arena arena = {0};
    struct slice header;
    listing->is_failed = !describe_header(listing->store, listing->request->queue_dir, m->id, &arena, &header, &listing->error);
    if (!listing->is_failed && listing->request->is_json) {
        describe_message(&listing->out, m, recipients, count);
        json_put_text(&listing->out, "header", header);
        json_close(&listing->out, '}');
    } else if (!listing->is_failed) {
        if (listing->messages)
            buf_append_byte(&listing->out, '\n');
        put_message(&listing->out, m);
        for (size_t i = 0; i < count; i++)
            put_recipient(&listing->out, &recipients[i], listing->request->filter.now_ms);
        put_header(&listing->out, header);
    }
    listing->messages++;
    arena_finish(&arena);
    return !listing->is_failed;
}

/* Prints each message as soon as it is written: a list of any length takes little memory. */
struct printing { struct listing *listing; store_message_fn *fn; };

static bool print_message(void *arg, const struct store_message *m,
                          const struct store_recipient *recipients, size_t count)
{
    struct printing *printing = arg;
    struct listing *listing = printing->listing;
    if (listing->request->is_json)
        buf_append_text(&listing->out, listing->messages ? ",\n" : "\n");
    bool goes_on = printing->fn(listing, m, recipients, count);
    out_print(&listing->out);
    return goes_on && !ferror(stdout);
}

static int print_all(struct listing *listing, store_message_fn *fn)
{
    struct queue_request *request = listing->request;
    struct printing printing = {listing, fn};
    int code = queue_open(request, &listing->store);
    if (code != EX_OK)
        return code;
    if (request->is_json)
        printf("[");
    bool is_done =
        store_select(listing->store, &request->filter, print_message, &printing, &listing->error);
    if (request->is_json)
        printf("\n]\n");
    store_close(&listing->store);
    buf_finish(&listing->out);
    if (!is_done || listing->is_failed)
        return command_fail("queue", EX_IOERR, "%s", listing->error.text);
    return EX_OK;
}

int queue_list(struct queue_request *request)
{
    struct listing listing = {.request = request};
    if (!request->is_json)
        printf("%-16s  %6s  %7s  %s\n", "ID", "SIZE", "AGE", "SENDER, RECIPIENTS");
    int code = print_all(&listing, list_message);
    if (code != EX_OK || request->is_json)
        return code;
    struct buf total = {0};
    buf_printf(&total, "%llu message%s, %llu recipient%s, ", (unsigned long long)listing.messages,
               listing.messages == 1 ? "" : "s", (unsigned long long)listing.recipients,
               listing.recipients == 1 ? "" : "s");
    put_size(&total, listing.octets);
    buf_append_text(&total, listing.octets < 1024 ? " octets\n" : "B\n");
    out_print(&total);
    buf_finish(&total);
    return EX_OK;
}

int queue_show(struct queue_request *request)
{
    struct listing listing = {.request = request};
    int code = print_all(&listing, show_message);
    if (code != EX_OK)
        return code;
    return listing.messages ? EX_OK : command_fail("queue", 1, "no such message");
}
