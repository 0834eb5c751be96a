#include "relay/relay_private.h"

#include "base/mem.h"
#include "os/clock.h"
#include "outcome/bounce.h"
#include "outcome/receipt.h"
#include "config/schedule.h"

#include <stdlib.h>

enum { CONTENT_TRIES_MAX = 3600 / STORE_AGAIN_S };

struct dsn_list { struct dsn_recipient *items; size_t count, capacity; };

struct settle {
    struct writer_job job;
    struct relay *relay;
    struct item *item;
    struct connection *connection;
    struct arena arena;
    struct store_settlement *settlements;
    size_t count, capacity;
    struct dsn_list lists[DSN_EXPANDED + 1]; /* by enum dsn_action */
    struct queued *notices;
    struct badmail badmail;     /* name set: what a null sender can't be told */
    struct slice badmail_content;
    struct fetch_wait wait;     /* for the content, which a notice or Badmail needs */
    int content_tries;          /* it could not be read so often */
    bool is_composed, is_badmail_written, is_gone;
    size_t final_count;         /* of the settlements */
    bool is_last;               /* no recipient of the message is left after it */
    int64_t next_ms;            /* the earliest retry */
    struct timer *again;
    struct settle *next_again;  /* of relay->again: those that wait to be offered to the store once more */
};

struct settle *settle_create(struct item *item)
{
    struct settle *settle = mem_alloc(sizeof *settle);
    settle->relay = item->relay;
    settle->item = item;
    settle->next_ms = INT64_MAX;
    return settle;
}

static void settle_destroy(struct settle *settle)
{
    while (settle->notices) {
        struct queued *notice = settle->notices;
        settle->notices = notice->next;
        queued_destroy(&notice);
    }
    timer_free(&settle->again);
    arena_finish(&settle->arena);
    free(settle);
}

struct settle *settle_gathered(struct item *item)
{
    if (!item->settle) {
        item->settle = settle_create(item);
        item->next_settling = item->relay->settling;
        item->relay->settling = item;
        relay_soon(item->relay);
    }
    return item->settle;
}

void settle_leave(struct settle *settle)
{
    settle->connection = NULL;
}

/* ---- what becomes of one recipient ---- */

static void put_notice(struct settle *settle, enum dsn_action action, const struct store_recipient *recipient,
                       const struct attempt *attempt, const struct store_settlement *settlement)
{
    struct dsn_list *list = &settle->lists[action];
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 4;
        list->items = arena_grow(&settle->arena, list->items, list->count, capacity, sizeof *list->items);
        list->capacity = capacity;
    }
    list->items[list->count++] = (struct dsn_recipient){
        .address = recipient->address, .orcpt = recipient->orcpt, .status = settlement->status,
        .remote_mta = slice_is_absent(attempt->host) ? SLICE_NONE : arena_copy(&settle->arena, attempt->host),
        .diagnostic = settlement->reply,
        .is_smtp_diagnostic = attempt->code != 0 && !slice_is_absent(attempt->host),
        .last_attempt_ms = settlement->last_attempt_ms,
        .will_retry_until_ms = action == DSN_DELAYED ? settlement->next_ms : 0,
    };
}

static void add_notice(struct settle *settle, enum dsn_action action, const struct store_recipient *recipient,
                       const struct attempt *attempt, const struct store_settlement *settlement)
{
    if (bounce_is_wanted(action, recipient->notify))
        put_notice(settle, action, recipient, attempt, settlement);
}

static void add_badmail(struct settle *settle, const struct store_recipient *recipient,
                        const struct store_settlement *settlement)
{
    const struct store_message *message = &settle->item->queued->message;
    struct badmail *bad = &settle->badmail;
    if (slice_is_absent(bad->name)) {
        char id[17];
        store_id_text(message->id, id);
        *bad = (struct badmail){
            .name = slice_is_absent(message->pickup_name) ? arena_copy(&settle->arena, slice_make(id, 16))
                                                          : message->pickup_name,
            .reason = settlement->reply, .status = settlement->status, .owner = message->owner,
            .sender = message->sender, .recipients = recipient->address, .id = message->id,
            .time_ms = settlement->last_attempt_ms};
        return;
    }
    struct buf all = {0};
    buf_append(&all, bad->recipients);
    buf_append_byte(&all, ' ');
    buf_append(&all, recipient->address);
    bad->recipients = arena_copy(&settle->arena, buf_slice(&all));
    buf_finish(&all);
}

static void fail(struct settle *settle, const struct store_recipient *recipient, const struct attempt *attempt,
                 const struct store_settlement *settlement)
{
    settle->relay->bounced++;
    if (settle->item->queued->message.sender.size == 0)
        add_badmail(settle, recipient, settlement);
    else
        add_notice(settle, DSN_FAILED, recipient, attempt, settlement);
}

static void defer(struct settle *settle, const struct store_recipient *recipient, const struct attempt *attempt,
                  struct store_settlement *settlement)
{
    const struct config *config = settle->relay->config;
    const struct store_message *message = &settle->item->queued->message;
    const struct config_route *rule = config_route_find(config, recipient->domain);
    const struct config_schedule *schedule = rule && rule->has_schedule ? &rule->schedule : &config->queue.schedule;
    struct window window;
    bool is_null = message->sender.size == 0;
    /* The clock may have been set since it arrived: that makes nothing older. */
    int64_t now_ms = clock_due_ms(), released_ms = settle->item->policy.released_ms;
    int64_t arrived_ms = (released_ms ? released_ms : message->arrived_ms) + clock_set_forward_ms();
    int64_t expires_ms = schedule_expires(config, schedule, arrived_ms, is_null);
    if (now_ms >= expires_ms && !attempt->is_kept) {
        settlement->state = STATE_EXPIRED;
        settlement->status = SLICE("5.4.7");
        fail(settle, recipient, attempt, settlement);
        return;
    }
    settle->relay->deferred++;
    settlement->state = attempt->kind == RESULT_UNKNOWN && config->queue.unknown == CONFIG_UNKNOWN_HOLD
                            ? STATE_HELD : STATE_QUEUED;
    settlement->next_ms =
        attempt->is_kept        ? attempt->kept_until_ms
        : rule && rule->is_etrn ? schedule_wait(rule, now_ms, expires_ms)
                                : schedule_next(schedule, settlement->attempts, now_ms, expires_ms, relay_random(settle->relay));
    if (settle->item->policy.window.size && window_parse(settle->item->policy.window, &window, NULL))
        settlement->next_ms = window_next(&window, settlement->next_ms);
    int64_t by_ms = settle->item->policy.by_ms;
    if (by_ms > now_ms && by_ms < settlement->next_ms)
        settlement->next_ms = by_ms;
    bool is_by_over = by_ms && !settle->item->policy.is_by_return && now_ms >= by_ms; /* RFC 2852: N wants to know */
    if (settlement->next_ms < settle->next_ms)
        settle->next_ms = settlement->next_ms;
    bool is_late = is_by_over || (schedule->delay_notice_ms && now_ms - arrived_ms >= schedule->delay_notice_ms);
    if (!is_null && !recipient->is_delay_noticed && is_late) {
        settlement->is_delay_noticed = true;
        struct store_settlement told = *settlement;
        told.next_ms = attempt->is_kept ? 0 : expires_ms; /* what is kept has no end */
        add_notice(settle, DSN_DELAYED, recipient, attempt, &told);
    }
}

static void tell(struct settle *settle, const struct store_recipient *recipient, const struct attempt *attempt,
                 const struct store_settlement *settlement)
{
    const struct store_message *message = &settle->item->queued->message;
    enum event_kind kind = settlement->state == STATE_EXPIRED        ? EVENT_EXPIRED
                           : attempt->kind == RESULT_UNKNOWN         ? EVENT_UNKNOWN
                           : settlement->state == STATE_DELIVERED    ? EVENT_DELIVERED
                           : settlement->state == STATE_BOUNCED      ? EVENT_BOUNCED
                                                                     : EVENT_DEFERRED;
    struct event event = EVENT(kind);
    event.id = message->id;
    event.trace = settle->item->policy.trace;
    event.pickup = message->pickup_name;
    event.message_id = message->message_id;
    event.sender = message->sender;
    event.recipient = recipient->address;
    event.host = attempt->host;
    event.address = attempt->address;
    event.tls = attempt->tls;
    event.cipher = attempt->cipher;
    event.policy = attempt->policy;
    event.auth = attempt->auth;
    event.stage = slice_of(attempt->stage);
    event.code = attempt->code;
    event.status = settlement->status;
    event.class = attempt->class ? slice_of(attempt->class->name) : SLICE_NONE;
    if (attempt->code && !slice_is_absent(attempt->host))
        event.reply = attempt->text;
    else
        event.reason = attempt->text;
    event.attempt = settlement->attempts;
    event.next_ms = settlement->state == STATE_QUEUED ? settlement->next_ms : 0;
    if (!slice_is_absent(attempt->offers))
        event.note = attempt->offers;
    else
        event.note = settlement->state == STATE_HELD ? SLICE("held: queue.answer_unknown") : SLICE_NONE;
    event.delay_ms = settlement->last_attempt_ms - message->arrived_ms;
    event.connect_ms = attempt->connect_ms;
    event.transaction_ms = attempt->transaction_ms;
    event_put(settle->relay->parts.log, &event);
}

/* By us: RFC 3461 5.2.2 where the next hop tells nobody; RFC 2852 4.1 where it doesn't know by when, or each hop is asked for (T). */
static bool is_success_told(const struct settle *settle, const struct store_recipient *recipient, const struct attempt *attempt)
{
    const struct policy *policy = &settle->item->policy;
    bool is_hop_told = policy->by_ms && !attempt->is_final && !(recipient->notify & NOTIFY_NEVER)
                       && (!attempt->has_by || policy->is_by_traced);
    bool is_wanted = !attempt->has_dsn && (recipient->notify & NOTIFY_SUCCESS);
    return (is_hop_told || is_wanted) && settle->item->queued->message.sender.size;
}

void settle_add(struct settle *settle, unsigned number, const struct attempt *attempt)
{
    const struct store_recipient *recipient = &settle->item->queued->recipients[number];
    if (settle->count == settle->capacity) {
        size_t capacity = settle->capacity ? 4 * settle->capacity : 1;
        settle->settlements =
            arena_grow(&settle->arena, settle->settlements, settle->count, capacity, sizeof *settle->settlements);
        settle->capacity = capacity;
    }
    struct store_settlement *settlement = &settle->settlements[settle->count++];
    *settlement = (struct store_settlement){
        .message_id = settle->item->id, .number = recipient->number, .attempts = recipient->attempts + 1,
        .last_attempt_ms = clock_wall_ms(), .is_delay_noticed = recipient->is_delay_noticed,
        .status = arena_copy(&settle->arena, attempt->status), .reply = arena_copy(&settle->arena, attempt->text),
        .host = slice_is_absent(attempt->host) ? SLICE_NONE : arena_copy(&settle->arena, attempt->host),
    };
    if (attempt->kind == RESULT_DELIVERED) {
        settlement->state = STATE_DELIVERED;
        settle->relay->delivered++;
        if (attempt->is_final)
            returned_note(settle->item, recipient);
        if (is_success_told(settle, recipient, attempt))
            put_notice(settle, attempt->is_final ? DSN_DELIVERED : DSN_RELAYED, recipient, attempt, settlement);
    } else if (attempt->kind == RESULT_FAILED) {
        settlement->state = STATE_BOUNCED;
        if (attempt->class && attempt->code >= 500)
            relay_suppress(settle->relay, &settle->arena, recipient->address, attempt->class, attempt->text);
        fail(settle, recipient, attempt, settlement);
    } else {
        defer(settle, recipient, attempt, settlement);
    }
    tell(settle, recipient, attempt, settlement);
}

/* ---- the commit ---- */

static bool is_receipt_wanted(const struct settle *settle)
{
    int wish = settle->item->policy.receipts;
    return settle->relay->parts.receipts_fd >= 0 && (wish >= 0 ? wish > 0 : settle->relay->config->receipts.is_on);
}

/* What the application that wrote the file may read; a folder that can't be written costs the receipt, not the outcome. */
static void write_receipt(struct settle *settle, struct store *store)
{
    struct arena arena = {0};
    struct store_message message;
    struct store_recipient *recipients;
    size_t count;
    struct error error;
    bool is_done = true;
    if (!is_receipt_wanted(settle)
        || !store_read_message(store, &arena, settle->item->id, false, &message, &error)
        || !store_read_recipients(store, &arena, settle->item->id, &recipients, &count, &error)) {
        arena_finish(&arena);
        return;
    }
    for (size_t i = 0; i < count; i++)
        is_done = is_done && recipients[i].state != STATE_QUEUED && recipients[i].state != STATE_HELD;
    if (!receipt_write(settle->relay->parts.receipts_fd, &message, recipients, count, is_done, &error)) {
        struct event event = EVENT(EVENT_WARNING);
        event.id = settle->item->id;
        event.reason = slice_of(error.text);
        event_put(settle->relay->parts.log, &event);
    }
    arena_finish(&arena);
}

static bool apply_settle(struct writer_job *job, struct store *store, struct error *error)
{
    struct settle *settle = (struct settle *)job;
    if (!slice_is_absent(settle->badmail.name) && !settle->is_badmail_written) {
        event_flush(settle->relay->parts.log);
        if (!badmail_write(settle->relay->parts.badmail, settle->badmail_content, &settle->badmail, error))
            return false;
        settle->is_badmail_written = true;
    }
    bool is_short = settle->is_last && !is_receipt_wanted(settle); /* rows that nobody would read */
    for (size_t i = 0; !is_short && i < settle->count; i++)
        if (!store_settle(store, &settle->settlements[i], error))
            return false;
    write_receipt(settle, store);
    for (const struct queued *notice = settle->notices; notice; notice = notice->next)
        if (!queued_store(notice, store, error))
            return false;
    if (!is_short)
        return store_finish_message(store, settle->item->id, &settle->is_gone, error);
    settle->is_gone = true;
    return store_end_message(store, settle->item->id, error);
}

static void tell_about(struct settle *settle, enum event_kind kind, uint64_t id, const char *note)
{
    const struct store_message *message = &settle->item->queued->message;
    struct event event = EVENT(kind);
    event.id = id;
    event.about = id == message->id ? 0 : message->id;
    event.trace = settle->item->policy.trace;
    if (settle->item->policy.appeared_ms)
        event.age_ms = clock_wall_ms() - settle->item->policy.appeared_ms;
    event.pickup = message->pickup_name;
    event.message_id = message->message_id;
    event.note = slice_of(note);
    event.delay_ms = clock_wall_ms() - message->arrived_ms;
    event_put(settle->relay->parts.log, &event);
}

static void submit(struct settle *settle);

static void on_again(void *arg)
{
    struct settle *settle = arg, **at = &settle->relay->again;
    while (*at != settle)
        at = &(*at)->next_again;
    *at = settle->next_again;
    submit(settle);
}

/* The outcome stands, the disk does not take it yet: it is kept and offered again, as a new transaction. */
static void try_again(struct settle *settle)
{
    struct event event = EVENT(EVENT_ERROR);
    event.id = settle->item->id;
    event.reason = slice_of(settle->job.error.text);
    event.note = SLICE("an outcome could not be committed; it is tried again");
    event_put(settle->relay->parts.log, &event);
    event_flush(settle->relay->parts.log);
    if (!settle->again)
        settle->again = timer_make(settle->relay->parts.base, on_again, settle);
    timer_set(settle->again, 1000L * STORE_AGAIN_S);
    settle->next_again = settle->relay->again;
    settle->relay->again = settle;
}

void settle_forget_all(struct relay *relay)
{
    while (relay->again) {
        struct settle *settle = relay->again;
        relay->again = settle->next_again;
        settle_destroy(settle);
    }
}

static void settle_done(struct writer_job *job)
{
    struct settle *settle = (struct settle *)job;
    struct relay *relay = settle->relay;
    if (!job->is_committed) {
        try_again(settle);
        return;
    }
    struct item *item = settle->item;
    struct connection *connection = settle->connection;
    struct queued *notices = settle->notices;
    size_t count = settle->count;
    settle->notices = NULL;
    item->queued->open_count -= settle->final_count;
    relay->settles_in_flight--;
    item->is_gone = settle->is_gone;
    if (settle->is_gone)
        tell_about(settle, EVENT_DONE, item->id, NULL);
    if (settle->next_ms != INT64_MAX)
        relay_wake_at(relay, settle->next_ms);
    settle_destroy(settle);
    if (count)
        item_release(item, count);
    relay_start_list(relay, notices);
    if (connection)
        connection_settled(connection);
    relay_soon(relay); /* flushes the log, looks whether all is finished */
}

static void compose_notices(struct settle *settle)
{
    static const char *const notes[] = {"failed", "delayed", "delivered", "relayed", "expanded"};
    struct slice content = SLICE("");
    struct error error;
    for (size_t action = 0; action < COUNT_OF(settle->lists); action++) {
        const struct dsn_list *list = &settle->lists[action];
        if (list->count == 0)
            continue;
        if (content.size == 0 && !item_content(settle->item, &content, &error))
            content = SLICE("");
        struct bounce bounce = {settle->relay->config, settle->relay->parts.ids, &settle->item->queued->message,
                                content, (enum dsn_action)action, list->items, list->count,
                                settle->relay->parts.signer};
        struct queued *notice = bounce_compose(&settle->arena, &bounce);
        if (!notice)
            continue;
        relay_expect(settle->relay, notice->message.id);
        notice->next = settle->notices;
        settle->notices = notice;
        tell_about(settle, EVENT_NOTICE, notice->message.id, notes[action]);
    }
}

/* False when the message can't be read now: it must not leave the queue before it is in Badmail whole. What stays
 * unreadable for an hour is lost, and then the reason is written without it. */
static bool prepare_badmail(struct settle *settle)
{
    if (slice_is_absent(settle->badmail.name) || !slice_is_absent(settle->badmail_content))
        return true;
    if (!item_content(settle->item, &settle->badmail_content, &settle->job.error)) {
        settle->badmail_content = SLICE_NONE;
        if (settle->content_tries++ < CONTENT_TRIES_MAX)
            return false;
        settle->badmail_content = SLICE("");
        tell_about(settle, EVENT_WARNING, settle->item->id, settle->job.error.text);
    }
    tell_about(settle, EVENT_BADMAIL, settle->item->id, "the null sender can't be told");
    return true;
}

static bool needs_content(const struct settle *settle)
{
    bool is_needed = !slice_is_absent(settle->badmail.name);
    for (size_t action = 0; action < COUNT_OF(settle->lists); action++)
        is_needed = is_needed || settle->lists[action].count;
    return is_needed && !settle->is_composed;
}

static void on_content(struct fetch_wait *wait)
{
    struct settle *settle = (struct settle *)((char *)wait - offsetof(struct settle, wait));
    if (wait->is_ended) {
        settle_destroy(settle);
        return;
    }
    settle->content_tries = wait->is_gone ? CONTENT_TRIES_MAX : settle->content_tries + wait->is_failed;
    if (wait->is_failed && !wait->is_gone) {
        settle->job.error = wait->error;
        try_again(settle);
        return;
    }
    submit(settle);
}

/* The content comes first, if it is needed. */
static void submit(struct settle *settle)
{
    if (needs_content(settle) && !item_is_here(settle->item) && settle->content_tries < CONTENT_TRIES_MAX) {
        settle->wait.fn = on_content;
        fetch_start(settle->item, &settle->wait);
        return;
    }
    if (!settle->is_composed)
        compose_notices(settle);
    settle->is_composed = true;
    if (prepare_badmail(settle))
        writer_submit(settle->relay->parts.writer, &settle->job);
    else
        try_again(settle);
}

static size_t count_final(const struct settle *settle)
{
    size_t count = 0;
    for (size_t i = 0; i < settle->count; i++) {
        enum store_state state = settle->settlements[i].state;
        count += state != STATE_QUEUED && state != STATE_HELD;
    }
    return count;
}

void settle_submit(struct settle *settle, struct connection *connection)
{
    settle->final_count = count_final(settle);
    /* Against what is open by the last commit: one whose commit fails may not find its message gone by another's. */
    settle->is_last = settle->final_count == settle->item->queued->open_count;
    settle->connection = connection;
    settle->relay->settles_in_flight++;
    settle->job.apply = apply_settle;
    settle->job.done = settle_done;
    settle->job.post = settle->relay->parts.post;
    submit(settle);
}
