#include "cli/queue.h"

#include "base/json.h"
#include "message/envelope.h"
#include "os/file.h"

#include <stdio.h>
#include <unistd.h>

enum { HEADER_SHOWN_MAX = 64 * 1024 };

struct listing {
    struct queue_request *request;
    struct store *store;
    struct buf out;
    uint64_t messages, recipients, octets;
    struct error error; /* of showing one of them */
    bool is_failed;
};

static void put_json_text(struct buf *out, const char *key, struct slice text)
{
    if (!slice_is_absent(text))
        json_put_text(out, key, text);
}

static void put_json_time(struct buf *out, const char *key, int64_t wall_ms)
{
    struct buf text = {0};
    put_time(&text, wall_ms);
    json_put_text(out, key, buf_slice(&text));
    buf_finish(&text);
}

static void put_json_recipient(struct buf *out, const struct store_recipient *r)
{
    json_open(out, '{');
    json_put_text(out, "address", r->address);
    json_put_text(out, "domain", r->domain);
    json_put_text(out, "state", slice_of(state_name(r->state)));
    json_put_number(out, "attempts", r->attempts);
    if (r->state == STATE_QUEUED)
        put_json_time(out, "next", r->next_ms);
    if (r->last_attempt_ms)
        put_json_time(out, "last_attempt", r->last_attempt_ms);
    put_json_text(out, "status", r->last_status);
    put_json_text(out, "reply", r->last_reply);
    put_json_text(out, "host", r->last_host);
    put_json_text(out, "route", r->route);
    put_json_text(out, "orcpt", r->orcpt);
    json_close(out, '}');
}

/* Left open for what show adds. */
static void put_json_message(struct buf *out, const struct store_message *m,
                             const struct store_recipient *recipients, size_t count)
{
    char id[17];
    store_id_text(m->id, id);
    json_open(out, '{');
    json_put_text(out, "id", slice_of(id));
    put_json_time(out, "arrived", m->arrived_ms);
    json_put_number(out, "size", (int64_t)m->size);
    json_put_text(out, "sender", m->sender);
    put_json_text(out, "envid", m->envid);
    put_json_text(out, "pickup", m->pickup_name);
    put_json_text(out, "owner", m->owner);
    put_json_text(out, "message_id", m->message_id);
    put_json_text(out, "subject", m->subject);
    json_put_number(out, "priority", m->priority);
    json_put_bool(out, "is_dsn", (m->flags & MESSAGE_IS_DSN) != 0);
    json_key(out, "recipients");
    json_open(out, '[');
    for (size_t i = 0; i < count; i++)
        put_json_recipient(out, &recipients[i]);
    json_close(out, ']');
}

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
        put_json_message(out, m, recipients, count);
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

static bool read_header(struct listing *listing, uint64_t id, struct arena *arena,
                        struct slice *ret_header)
{
    struct store_message m;
    if (!store_read_message(listing->store, arena, id, true, &m, &listing->error))
        return false;
    size_t size = m.header_size < HEADER_SHOWN_MAX ? m.header_size : HEADER_SHOWN_MAX;
    if (!m.is_in_file) {
        *ret_header = slice_first(m.content, size < m.content.size ? size : m.content.size);
        return true;
    }
    int fd = store_body_open(listing->request->queue_dir, id, &listing->error);
    if (fd < 0)
        return false;
    char *bytes = arena_alloc(arena, size);
    ssize_t got = pread(fd, bytes, size, 0);
    if (got < 0)
        (void)error_set_errno(&listing->error, "body file");
    close(fd);
    *ret_header = slice_make(bytes, got < 0 ? 0 : (size_t)got);
    return got >= 0;
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
    listing->is_failed = !read_header(listing, m->id, &arena, &header);
    if (!listing->is_failed && listing->request->is_json) {
        put_json_message(&listing->out, m, recipients, count);
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
