#include "outcome/span.h"

#include "base/json.h"
#include "message/trace.h"
#include "outcome/history.h"
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>

enum { KIND_INTERNAL = 1, KIND_CLIENT = 3, KIND_CONSUMER = 5, STATUS_ERROR = 2 }; /* of the proto */

struct telling {
    const json_t *event;
    const struct span_options *options;
    struct buf *out;
    size_t count;
    uint64_t id;
    struct trace trace;
    char made[TRACE_ID_SIZE + 1];
    int64_t end_ms;
    const char *kind;         /* the event's */
};

struct span {
    const char *name;
    int kind;
    struct slice what, parent; /* trace_make_span(); parent absent: the application's span, or none */
    int64_t begin_ms;
    bool is_failed;
};

/* ---- attributes ---- */

static void put_key(struct buf *out, const char *key, const char *type)
{
    json_open(out, '{');
    json_put_text(out, "key", slice_of(key));
    json_key(out, "value");
    json_open(out, '{');
    json_key(out, type);
}

static void end_key(struct buf *out)
{
    json_close(out, '}');
    json_close(out, '}');
}

static void put_text(struct buf *out, const char *key, struct slice text)
{
    if (text.size == 0)
        return;
    put_key(out, key, "stringValue");
    json_text(out, text);
    end_key(out);
}

/* Protobuf's JSON writes 64 bits as text. */
static void put_number(struct buf *out, const char *key, const json_t *number)
{
    char text[24];
    if (!json_is_integer(number))
        return;
    (void)snprintf(text, sizeof text, "%lld", (long long)json_integer_value(number));
    put_key(out, key, "intValue");
    json_text(out, slice_of(text));
    end_key(out);
}

static void put_of_event(struct telling *telling, const char *key, const char *name)
{
    const json_t *value = json_object_get(telling->event, name);
    const char *text = json_string_value(value);
    if (text && (telling->options->has_addresses || !strchr(text, '@'))) /* N4 */
        put_text(telling->out, key, slice_of(text));
    else
        put_number(telling->out, key, value);
}

static const struct attribute { const char *key, *name; } message_attributes[] = {
    {"mailroot.queue_id", "id"}, {"mailroot.pickup", "pickup"}, {"mailroot.message_id", "message_id"}, {"mailroot.sender", "from"},
    {"mailroot.about", "about"}, {"mailroot.reason", "reason"}, {"mailroot.node", "node"},
}, take_attributes[] = {
    {"mailroot.queue_id", "id"}, {"mailroot.pickup", "pickup"}, {"mailroot.dialect", "dialect"}, {"mailroot.repairs", "repairs"},
    {"mailroot.owner", "owner"}, {"mailroot.size", "size"}, {"mailroot.recipients", "recipients"},
}, attempt_attributes[] = {
    {"mailroot.queue_id", "id"}, {"mailroot.recipient", "to"}, {"mailroot.outcome", "event"}, {"mailroot.attempt", "attempt"},
    {"server.address", "mx"}, {"mailroot.reply_code", "code"}, {"mailroot.enhanced_status", "status"}, {"mailroot.class", "class"},
    {"mailroot.stage", "stage"}, {"mailroot.reply", "reply"}, {"mailroot.reason", "reason"}, {"mailroot.tls_policy", "policy"},
    {"tls.cipher", "cipher"}, {"mailroot.auth", "auth"}, {"mailroot.next_attempt", "next"}, {"mailroot.note", "note"},
};

static void put_all(struct telling *telling, const struct attribute *attributes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        put_of_event(telling, attributes[i].key, attributes[i].name);
}

/* "192.0.2.1:25", "[2001:db8::1]:25" */
static void put_peer(struct telling *telling)
{
    const char *text = history_text(telling->event, "ip"), *colon = strrchr(text, ':');
    if (!colon)
        return;
    struct slice address = slice_make(text, (size_t)(colon - text));
    if (address.size > 2 && address.data[0] == '[')
        address = slice_make(address.data + 1, address.size - 2);
    put_text(telling->out, "network.peer.address", address);
    json_t *port = json_integer(atoi(colon + 1));
    put_number(telling->out, "network.peer.port", port);
    json_decref(port);
}

static void put_destination(struct telling *telling)
{
    const char *at = strrchr(history_text(telling->event, "to"), '@');
    put_text(telling->out, "mailroot.destination", slice_of(at ? at + 1 : ""));
}

static void put_attempt(struct telling *telling)
{
    const char *tls = history_text(telling->event, "tls");
    put_all(telling, attempt_attributes, COUNT_OF(attempt_attributes));
    put_destination(telling);
    put_peer(telling);
    if (strncmp(tls, "TLSv", 4) == 0) {
        put_text(telling->out, "tls.protocol.name", SLICE("tls"));
        put_text(telling->out, "tls.protocol.version", slice_of(tls + 4));
    }
}

/* ---- spans ---- */

static void put_time(struct buf *out, const char *key, int64_t wall_ms)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%lld000000", (long long)(wall_ms > 0 ? wall_ms : 0));
    json_put_text(out, key, slice_of(text));
}

static void put_span_id(struct telling *telling, const char *key, struct slice what)
{
    char id[TRACE_SPAN_SIZE + 1];
    trace_make_span(telling->id, what, id);
    json_put_text(telling->out, key, slice_of(id));
}

/* What went wrong in few words: "bounced: 550 5.1.1 no-such-user". */
static void put_status(struct telling *telling)
{
    static const char *const names[] = {"status", "class", "stage", "reason"};
    struct buf text = {0};
    long long code = json_integer_value(json_object_get(telling->event, "code"));
    buf_printf(&text, "%s:", telling->kind);
    if (code)
        buf_printf(&text, " %lld", code);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        const char *word = history_text(telling->event, names[i]);
        if (*word && (telling->options->has_addresses || !strchr(word, '@')))
            buf_printf(&text, " %s", word);
    }
    json_key(telling->out, "status");
    json_open(telling->out, '{');
    json_put_number(telling->out, "code", STATUS_ERROR);
    json_put_text(telling->out, "message", buf_slice(&text));
    json_close(telling->out, '}');
    buf_finish(&text);
}

static void begin(struct telling *telling, const struct span *span)
{
    struct buf *out = telling->out;
    json_open(out, '{');
    json_put_text(out, "traceId", telling->trace.id);
    put_span_id(telling, "spanId", span->what);
    if (!slice_is_absent(span->parent))
        put_span_id(telling, "parentSpanId", span->parent);
    else if (!slice_is_absent(telling->trace.parent))
        json_put_text(out, "parentSpanId", telling->trace.parent);
    json_put_text(out, "name", slice_of(span->name));
    json_put_number(out, "kind", span->kind);
    put_time(out, "startTimeUnixNano", span->begin_ms < telling->end_ms ? span->begin_ms : telling->end_ms);
    put_time(out, "endTimeUnixNano", telling->end_ms);
    if (span->is_failed)
        put_status(telling);
    json_key(out, "attributes");
    json_open(out, '[');
}

static void end(struct telling *telling)
{
    json_close(telling->out, ']');
    json_close(telling->out, '}');
    telling->count++;
}

/* `key` before the event; its own time if that isn't said. */
static int64_t before(const struct telling *telling, const char *key)
{
    const json_t *ms = json_object_get(telling->event, key);
    return telling->end_ms - (json_is_integer(ms) ? json_integer_value(ms) : 0);
}

static void tell_message(struct telling *telling, bool is_failed)
{
    const char *from = json_object_get(telling->event, "age_ms") ? "age_ms" : "delay_ms";
    begin(telling, &(struct span){"message", KIND_CONSUMER, SLICE("message"), SLICE_NONE, before(telling, from), is_failed});
    put_all(telling, message_attributes, COUNT_OF(message_attributes));
    end(telling);
}

static void tell_end(struct telling *telling)
{
    tell_message(telling, false);
}

static void tell_broken(struct telling *telling)
{
    tell_message(telling, true);
}

static void tell_take(struct telling *telling)
{
    begin(telling, &(struct span){"take", KIND_INTERNAL, SLICE("take"), SLICE("message"), before(telling, "age_ms"), false});
    put_all(telling, take_attributes, COUNT_OF(take_attributes));
    end(telling);
}

static void tell_recipient(struct telling *telling, struct slice what, bool is_failed)
{
    begin(telling, &(struct span){"recipient", KIND_INTERNAL, what, SLICE("message"), before(telling, "delay_ms"), is_failed});
    put_attempt(telling);
    end(telling);
}

static void tell_attempt(struct telling *telling)
{
    struct buf recipient = {0}, attempt = {0};
    bool is_delivered = strcmp(telling->kind, "delivered") == 0, is_rejected = strcmp(telling->kind, "rejected") == 0;
    bool is_final = is_delivered || is_rejected || strcmp(telling->kind, "bounced") == 0 || strcmp(telling->kind, "expired") == 0;
    int64_t earliest_ms = before(telling, "delay_ms");
    int64_t begin_ms = before(telling, "connect_ms") + before(telling, "transaction_ms") - telling->end_ms;
    buf_printf(&recipient, "recipient %s", history_text(telling->event, "to"));
    buf_printf(&attempt, "attempt %lld %s", (long long)json_integer_value(json_object_get(telling->event, "attempt")),
               history_text(telling->event, "to"));
    if (!is_rejected) {
        begin(telling, &(struct span){"attempt", KIND_CLIENT, buf_slice(&attempt), buf_slice(&recipient),
                                      begin_ms > earliest_ms ? begin_ms : earliest_ms, !is_delivered});
        put_attempt(telling);
        end(telling);
    }
    if (is_final)
        tell_recipient(telling, buf_slice(&recipient), !is_delivered);
    buf_finish(&recipient);
    buf_finish(&attempt);
}

static const struct { const char *kind; void (*tell)(struct telling *telling); } tellers[] = {
    {"taken", tell_take},        {"delivered", tell_attempt}, {"deferred", tell_attempt}, {"bounced", tell_attempt},
    {"expired", tell_attempt},   {"unknown", tell_attempt},   {"rejected", tell_attempt}, {"done", tell_end},
    {"duplicate", tell_end},     {"removed", tell_broken},    {"refused", tell_broken},
};

static bool find_trace(struct telling *telling)
{
    const char *kept = history_text(telling->event, "trace");
    if (*kept)
        return trace_read(slice_of(kept), &telling->trace) && telling->trace.is_recorded; /* N3 */
    trace_make(slice_of(telling->options->host), telling->id, telling->made);
    telling->trace = (struct trace){slice_of(telling->made), SLICE_NONE, true};
    return true;
}

size_t span_put(const json_t *event, const struct span_options *options, struct buf *out)
{
    struct telling telling = {.event = event, .options = options, .out = out, .end_ms = history_time_ms(event),
                              .kind = history_text(event, "event")};
    if (telling.end_ms < 0 || !store_id_parse(slice_of(history_text(event, "id")), &telling.id) || !find_trace(&telling))
        return 0;
    for (size_t i = 0; i < COUNT_OF(tellers); i++)
        if (strcmp(tellers[i].kind, telling.kind) == 0)
            tellers[i].tell(&telling);
    return telling.count;
}

void span_begin(const struct span_options *options, struct buf *out)
{
    json_open(out, '{');
    json_key(out, "resourceSpans");
    json_open(out, '[');
    json_open(out, '{');
    json_key(out, "resource");
    json_open(out, '{');
    json_key(out, "attributes");
    json_open(out, '[');
    put_text(out, "service.name", slice_of(options->service_name));
    put_text(out, "service.version", SLICE(MAILROOT_VERSION));
    put_text(out, "service.instance.id", slice_of(options->host));
    put_text(out, "host.name", slice_of(options->host));
    json_close(out, ']');
    json_close(out, '}');
    json_key(out, "scopeSpans");
    json_open(out, '[');
    json_open(out, '{');
    json_key(out, "scope");
    json_open(out, '{');
    json_put_text(out, "name", SLICE("mailroot"));
    json_put_text(out, "version", SLICE(MAILROOT_VERSION));
    json_close(out, '}');
    json_key(out, "spans");
    json_open(out, '[');
}

void span_end(struct buf *out)
{
    json_close(out, ']');
    json_close(out, '}');
    json_close(out, ']');
    json_close(out, '}');
    json_close(out, ']');
    json_close(out, '}');
}
