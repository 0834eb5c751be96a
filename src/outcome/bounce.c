#include "outcome/bounce.h"

#include "config/schedule.h"
#include "message/aliases.h"
#include "message/trace.h"
#include "os/clock.h"
#include "store/policy.h"

#include <stdio.h>

bool bounce_is_wanted(enum dsn_action action, unsigned notify)
{
    static const struct { unsigned bit; bool is_default; } rules[] = {
        [DSN_FAILED] = {NOTIFY_FAILURE, true},    [DSN_DELAYED] = {NOTIFY_DELAY, true},
        [DSN_DELIVERED] = {NOTIFY_SUCCESS, false}, [DSN_RELAYED] = {NOTIFY_SUCCESS, false},
        [DSN_EXPANDED] = {NOTIFY_SUCCESS, false},
    };
    return notify ? (notify & rules[action].bit) != 0 : rules[action].is_default;
}

static struct slice domain_of(struct slice address)
{
    for (size_t i = address.size; i > 0; i--)
        if (address.data[i - 1] == '@')
            return slice_from(address, i);
    return SLICE("");
}

struct recipients { struct store_recipient *items; size_t count; uint64_t id; int64_t now_ms; };

static struct store_recipient recipient_to(const struct config *config, uint64_t id, unsigned number, struct slice address,
                                           int64_t now_ms)
{
    struct slice domain = domain_of(address);
    return (struct store_recipient){.message_id = id, .number = number, .address = address, .domain = domain,
                                    .notify = NOTIFY_NEVER, .state = STATE_QUEUED,
                                    .next_ms = schedule_first(config, domain, now_ms, true)};
}

static size_t header_size(struct slice content)
{
    ptrdiff_t end = slice_find(content, SLICE("\r\n\r\n"));
    return end < 0 ? content.size : (size_t)end + 4;
}

/* Adds whom a notice for `text` goes to: itself, or what an alias here makes of it. */
static void add_recipients(struct arena *arena, const struct bounce *bounce, struct slice text, struct recipients *to)
{
    struct address address, *found = &address;
    size_t count = 1;
    struct error error;
    if (!address_parse(arena, text, &address, &error))
        address = (struct address){.text = text, .domain = domain_of(text)};
    else if (config_is_local(bounce->config, address.domain)
             && !aliases_expand(arena, bounce->config->aliases, &address, &found, &count))
        found = &address;
    to->items = arena_grow(arena, to->items, to->count, to->count + count, sizeof *to->items);
    for (size_t i = 0; i < count; i++) {
        to->items[to->count] = recipient_to(bounce->config, to->id, (unsigned)to->count, found[i].text, to->now_ms);
        to->count++;
    }
}

/* A notice belongs to the trace of the message that it is about, below that one's span. */
static struct slice policy_of(struct arena *arena, const struct store_message *original, int64_t now_ms)
{
    struct policy policy, own = {.appeared_ms = now_ms};
    struct trace trace;
    char span[TRACE_SPAN_SIZE + 1];
    policy_read(original->policy, &policy);
    if (slice_is_absent(policy.trace) || !trace_read(policy.trace, &trace))
        return SLICE_NONE;
    trace_make_span(original->id, SLICE("message"), span);
    own.trace = arena_printf(arena, "%.*s-%s-0%d", SLICE_FMT(trace.id), span, trace.is_recorded);
    return policy_words(arena, NULL, &own);
}

static struct queued *queue_it(struct arena *arena, const struct bounce *bounce, uint64_t id, int64_t now_ms,
                               struct buf *content)
{
    const char *copy_to = bounce->config->bounce.copy_to;
    struct slice sender = bounce->original->sender;
    struct recipients to = {.id = id, .now_ms = now_ms};
    add_recipients(arena, bounce, sender, &to);
    if (copy_to && copy_to[0] && !slice_equals_nocase(slice_of(copy_to), sender))
        add_recipients(arena, bounce, slice_of(copy_to), &to);
    char host_id[300], text[17];
    store_id_text(id, text);
    (void)snprintf(host_id, sizeof host_id, "<%s@%s>", text, bounce->config->hostname);
    struct store_message message = {
        .id = id, .arrived_ms = now_ms, .sender = SLICE(""), .flags = MESSAGE_IS_DSN,
        .message_id = slice_of(host_id), .policy = policy_of(arena, bounce->original, now_ms), .size = content->size,
        .header_size = header_size(buf_slice(content)),
    };
    message.flags |= bounce->original->flags & MESSAGE_REQUIRETLS; /* O4 */
    if (slice_has_8bit(buf_slice(content)))
        message.flags |= MESSAGE_8BIT;
    if (slice_has_8bit(sender))
        message.flags |= MESSAGE_SMTPUTF8;
    return queued_create(&message, to.items, to.count, buf_take(content));
}

struct queued *bounce_compose(struct arena *arena, const struct bounce *bounce)
{
    const struct store_message *original = bounce->original;
    struct buf content = {0};
    char id_text[17], original_id[17];
    if (original->sender.size == 0 || bounce->recipient_count == 0)
        return NULL;
    int64_t now_ms = clock_wall_ms();
    uint64_t id = ids_next(bounce->ids, now_ms);
    store_id_text(id, id_text);
    store_id_text(original->id, original_id);
    size_t size_max = bounce->config->bounce.returned_size;
    struct dsn_report report = {
        .action = bounce->action, .host = slice_of(bounce->config->hostname),
        .queue_id = slice_make(id_text, 16), .original_id = slice_make(original_id, 16),
        .sender = original->sender, .from = slice_of(bounce->config->bounce.from), .envid = original->envid,
        .ret = original->flags & MESSAGE_REQUIRETLS ? RET_HDRS : (enum envelope_ret)original->ret, /* O4 */
        .arrival_ms = original->arrived_ms, .now_ms = now_ms, .zone_s = clock_zone_s(now_ms),
        .original = bounce->content, .is_header_only = bounce->content.size < original->size,
        .returned_size_max = size_max > STORE_INLINE_SIZE_MAX / 2 ? STORE_INLINE_SIZE_MAX / 2 : size_max,
        .recipients = bounce->recipients, .recipient_count = bounce->recipient_count,
    };
    dsn_compose(arena, &report, &content);
    if (bounce->signer) {
        struct signer_result signed_by; /* a notice without a signature is better than none */
        (void)!signer_sign(bounce->signer, arena, now_ms, NULL, &content, &signed_by, NULL);
    }
    return queue_it(arena, bounce, id, now_ms, &content);
}
