#include "store/describe.h"

#include "base/json.h"
#include "os/clock.h"
#include "store/filter.h"
#include "store/node.h"

#include <unistd.h>

enum { HEADER_SHOWN_MAX = 64 * 1024 };

static void put_text(struct buf *out, const char *key, struct slice text)
{
    if (!slice_is_absent(text))
        json_put_text(out, key, text);
}

static void put_time(struct buf *out, const char *key, int64_t wall_ms)
{
    char text[25];
    clock_rfc3339(wall_ms, text);
    json_put_text(out, key, slice_of(text));
}

static void put_recipient(struct buf *out, const struct store_recipient *r)
{
    json_open(out, '{');
    json_put_text(out, "address", r->address);
    json_put_text(out, "domain", r->domain);
    json_put_text(out, "state", slice_of(state_name(r->state)));
    json_put_number(out, "attempts", r->attempts);
    if (r->state == STATE_QUEUED)
        put_time(out, "next", r->next_ms);
    if (r->last_attempt_ms)
        put_time(out, "last_attempt", r->last_attempt_ms);
    put_text(out, "status", r->last_status);
    put_text(out, "reply", r->last_reply);
    put_text(out, "host", r->last_host);
    put_text(out, "route", r->route);
    put_text(out, "orcpt", r->orcpt);
    json_close(out, '}');
}

void describe_message(struct buf *out, const struct store_message *m, const struct store_recipient *recipients, size_t count)
{
    char id[17];
    store_id_text(m->id, id);
    json_open(out, '{');
    json_put_text(out, "id", slice_of(id));
    put_time(out, "arrived", m->arrived_ms);
    json_put_number(out, "size", (int64_t)m->size);
    json_put_text(out, "sender", m->sender);
    put_text(out, "envid", m->envid);
    put_text(out, "pickup", m->pickup_name);
    put_text(out, "owner", m->owner);
    put_text(out, "message_id", m->message_id);
    put_text(out, "subject", m->subject);
    json_put_number(out, "priority", m->priority);
    json_put_bool(out, "is_dsn", (m->flags & MESSAGE_IS_DSN) != 0);
    json_key(out, "recipients");
    json_open(out, '[');
    for (size_t i = 0; i < count; i++)
        put_recipient(out, &recipients[i]);
    json_close(out, ']');
}

bool describe_header(struct store *store, const char *dir, uint64_t id, struct arena *arena, struct slice *ret_header,
                     struct error *error)
{
    struct store_message m;
    if (!store_read_message(store, arena, id, true, &m, error))
        return false;
    size_t size = m.header_size < HEADER_SHOWN_MAX ? m.header_size : HEADER_SHOWN_MAX;
    if (!m.is_in_file) {
        *ret_header = slice_first(m.content, size < m.content.size ? size : m.content.size);
        return true;
    }
    int fd = store_body_open(dir, id, error);
    if (fd < 0)
        return false;
    char *bytes = arena_alloc(arena, size);
    ssize_t got = pread(fd, bytes, size, 0);
    if (got < 0)
        (void)error_set_errno(error, "body file");
    close(fd);
    *ret_header = slice_make(bytes, got < 0 ? 0 : (size_t)got);
    return got >= 0;
}

static void add_node(void *arg, const struct store_node *node)
{
    char joined[25];
    clock_rfc3339(node->joined_ms, joined);
    json_t *name = json_stringn(node->name.data, node->name.size), *version = json_stringn(node->version.data, node->version.size);
    json_t *one = json_pack("{s:I, s:o*, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "id", (json_int_t)node->id, "version", version, "joined",
                            joined, "lease_ms", (json_int_t)node->lease_left_ms, "claims", (json_int_t)node->claims, "connections",
                            (json_int_t)node->numbers.connections, "active", (json_int_t)node->numbers.active, "delivered",
                            (json_int_t)node->numbers.delivered, "deferred", (json_int_t)node->numbers.deferred, "bounced",
                            (json_int_t)node->numbers.bounced);
    if (name && one)
        json_object_set_new(arg, json_string_value(name), one);
    json_decref(name);
}

bool describe_nodes(struct store *store, json_t **ret_nodes, struct error *error)
{
    *ret_nodes = NULL;
    if (!store_is_shared(store))
        return true;
    json_t *nodes = json_object();
    if (!store_each_node(store, add_node, nodes, error)) {
        json_decref(nodes);
        return false;
    }
    *ret_nodes = nodes;
    return true;
}
