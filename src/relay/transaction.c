#include "message/content.h"
#include "message/dkim.h"
#include "message/envelope.h"
#include "os/clock.h"
#include "relay/connection_private.h"

/* "size=10485760 8bitmime smtputf8" of a rehearsal; in the transaction's arena. */
static struct slice offers_of(struct connection *c)
{
    static const struct { enum smtp_extension bit; const char *name; } names[] = {
        {SMTP_8BITMIME, " 8bitmime"}, {SMTP_SMTPUTF8, " smtputf8"}, {SMTP_DSN, " dsn"}, {SMTP_STARTTLS, " starttls"},
        {SMTP_CHUNKING, " chunking"}, {SMTP_REQUIRETLS, " requiretls"},
    };
    struct buf text = {0};
    if (!c->relay->parts.is_rehearsal || !c->client)
        return SLICE_NONE;
    unsigned offers = smtp_client_offers(c->client);
    if ((offers & SMTP_SIZE) && smtp_client_size_limit(c->client))
        buf_printf(&text, " size=%llu", (unsigned long long)smtp_client_size_limit(c->client));
    for (size_t i = 0; i < COUNT_OF(names); i++)
        buf_append_text(&text, offers & names[i].bit ? names[i].name : "");
    struct slice copy = text.size ? arena_copy(&c->arena, slice_from(buf_slice(&text), 1)) : SLICE("");
    buf_finish(&text);
    return copy;
}

struct attempt transaction_attempt(struct connection *c, const struct smtp_result *result)
{
    const SSL *tls = c->stream ? stream_tls(c->stream) : NULL;
    return (struct attempt){
        .kind = result->kind, .stage = result->stage, .code = result->code,
        .status = slice_of(result->status), .text = result->text, .host = slice_of(c->host->name),
        .address = slice_of(c->address), .tls = tls ? slice_of(SSL_get_version(tls)) : SLICE_NONE,
        .cipher = tls ? slice_of(SSL_get_cipher_name(tls)) : SLICE_NONE, .policy = slice_of(c->policy_text),
        .auth = slice_of(c->mechanism),
        .offers = offers_of(c),
        .is_final = c->options.is_lmtp,
        .has_dsn = c->client && (smtp_client_offers(c->client) & SMTP_DSN),
        .has_by = c->client && (smtp_client_offers(c->client) & SMTP_DELIVERBY),
        .connect_ms = c->connect_ms,
        .transaction_ms = c->job ? clock_mono_ms() - c->transaction_ms : -1,
    };
}

/* Some smart hosts refuse a message with more than one signature. */
static void keep_signatures(struct connection *c)
{
    const struct config_route *rule = c->site->rule;
    buf_clear(&c->trimmed);
    if (rule && rule->dkim_signatures && dkim_keep(c->content, (size_t)rule->dkim_signatures, &c->trimmed))
        c->content = buf_slice(&c->trimmed);
}

const struct reply_class *transaction_judge(const struct connection *c, struct smtp_result *result)
{
    bool is_refusal = result->kind == RESULT_FAILED || result->kind == RESULT_DEFERRED;
    if (result->code < 400 || !is_refusal)
        return NULL;
    struct reply_meaning meaning = replies_find(c->relay->config->replies, slice_of(c->host->name), result->code, result->status, result->text);
    bool is_ipv6 = c->address[0] == '[' && route_has_family(c->route, AF_INET);
    if (meaning.class && meaning.class->is_other_family && !is_ipv6)
        return meaning.class; /* there is no other family: by its code */
    if (result->kind == RESULT_FAILED && meaning.verdict == REPLY_RETRY) {
        result->kind = RESULT_DEFERRED;
        result->status[0] = '4';
    } else if (result->kind == RESULT_DEFERRED && meaning.verdict == REPLY_FAIL) {
        result->kind = RESULT_FAILED;
        result->status[0] = '5';
    }
    if (meaning.class && meaning.class->is_slow)
        result->is_host_failure = false; /* its neighbours are the same people's */
    return meaning.class;
}

/* The content as this hop takes it; else `result` says why it can't be sent. */
static bool content_for_hop(struct connection *c, struct smtp_result *result, struct error *error)
{
    struct item *item = c->job->item;
    bool is_8bit = item->queued->message.flags & MESSAGE_8BIT;
    *result = (struct smtp_result){.kind = RESULT_DEFERRED, .stage = "mail", .status = "4.3.0"};
    if (!item_content(item, &c->content, error))
        return false;
    buf_clear(&c->converted);
    if (!is_8bit || (smtp_client_offers(c->client) & SMTP_8BITMIME)) {
        keep_signatures(c);
        return true;
    }
    *result = (struct smtp_result){.kind = RESULT_FAILED, .stage = "mail", .status = "5.6.3"};
    if (!content_to_7bit(&c->arena, c->content, &c->converted, error))
        return error_prefix(error, "the next hop takes no 8-bit text and this can't be converted");
    c->content = buf_slice(&c->converted);
    keep_signatures(c);
    return true;
}

/* RFC 2852 4: what is left of the time; absent where none was set. R and nothing left: item_start() sees to that, a second later. */
static struct slice by_of(struct connection *c)
{
    const struct policy *policy = &c->job->item->policy;
    if (!policy->by_ms)
        return SLICE_NONE;
    long long seconds = (policy->by_ms - clock_wall_ms()) / 1000;
    if (policy->is_by_return && seconds < 1)
        seconds = 1;
    return arena_printf(&c->arena, "%lld;%c%s", seconds, policy->is_by_return ? 'R' : 'N', policy->is_by_traced ? "T" : "");
}

/* What goes to our own, or over a socket of this machine, keeps its sender. */
static struct slice sender_of(struct connection *c)
{
    const struct item *item = c->job->item;
    if (c->options.is_lmtp)
        return item->queued->message.sender;
    return return_path_of(signer_return_path(c->relay->parts.signer), &c->arena, item->queued->message.sender,
                          item->queued->recipients[c->job->recipients[0]].address, clock_wall_ms());
}

static void fill_transaction(struct connection *c)
{
    static const char *const rets[] = {[RET_UNSET] = NULL, [RET_FULL] = "FULL", [RET_HDRS] = "HDRS"};
    const struct store_message *message = &c->job->item->queued->message;
    struct smtp_recipient *recipients = arena_alloc(&c->arena, c->job->count * sizeof *recipients);
    for (size_t i = 0; i < c->job->count; i++) {
        const struct store_recipient *from = &c->job->item->queued->recipients[c->job->recipients[i]];
        recipients[i] = (struct smtp_recipient){.address = from->address, .orcpt = from->orcpt,
                                                .notify = from->notify};
    }
    c->transaction = (struct smtp_transaction){
        .arena = &c->arena, .sender = sender_of(c), .ret = rets[message->ret], .envid = message->envid,
        .auth = message->auth, .body_size = c->content.size,
        .is_8bit = (message->flags & MESSAGE_8BIT) && c->converted.size == 0,
        .is_smtputf8 = message->flags & MESSAGE_SMTPUTF8, .is_rehearsal = c->relay->parts.is_rehearsal,
        .by = by_of(c), .is_requiretls = message->flags & MESSAGE_REQUIRETLS,
        .recipients = recipients, .recipient_count = c->job->count,
    };
}

/* More recipients than the server takes at once (LIMITS RCPTMAX): the others go back in front. */
static void split(struct connection *c)
{
    size_t most = smtp_client_recipients_max(c->client);
    if (return_path_is_single(signer_return_path(c->relay->parts.signer), c->job->item->queued->message.sender))
        most = 1;
    if (most == 0 || c->job->count <= most)
        return;
    struct job *rest = job_create(c->job->item, c->job->route, c->job->tried);
    for (size_t i = most; i < c->job->count; i++)
        job_add(rest, c->job->recipients[i]);
    rest->failure = c->job->failure;
    c->job->count = most;
    site_requeue(c->site, rest);
}

static void forget(struct connection *c)
{
    if (c->job)
        job_destroy(c->job);
    c->job = NULL;
    buf_clear(&c->converted);
    buf_clear(&c->trimmed);
    arena_reset(&c->arena);
    c->transaction = (struct smtp_transaction){0};
    c->content = SLICE_NONE;
    c->is_body_started = false;
}

/* The message can't be sent over this hop at all: its outcome without a word to the server. */
static void settle_unsendable(struct connection *c, const struct smtp_result *result)
{
    struct attempt attempt = transaction_attempt(c, result);
    c->settle = settle_create(c->job->item);
    for (size_t i = 0; i < c->job->count; i++)
        settle_add(c->settle, c->job->recipients[i], &attempt);
    c->phase = PHASE_SETTLING;
    struct settle *settle = c->settle;
    forget(c);
    settle_submit(settle, c);
}

static bool is_worn_out(const struct connection *c)
{
    const struct config_route *rule = c->site->rule;
    size_t most = rule && rule->messages_per_connection
                      ? (size_t)rule->messages_per_connection
                      : (size_t)c->relay->config->delivery.messages_per_connection;
    size_t theirs = smtp_client_messages_max(c->client);
    return c->transactions >= most || (theirs && c->transactions >= theirs);
}

static void begin(struct connection *c)
{
    struct smtp_result result;
    struct error error;
    if (!content_for_hop(c, &result, &error)) {
        result.text = slice_of(c->wait.is_failed ? c->wait.error.text : error.text);
        settle_unsendable(c, &result);
        return;
    }
    fill_transaction(c);
    smtp_client_send(c->client, &c->transaction, clock_mono_ms());
}

void transaction_read(struct fetch_wait *wait)
{
    struct connection *c = (struct connection *)((char *)wait - offsetof(struct connection, wait));
    if (wait->is_ended)
        return;
    c->phase = PHASE_TALKING;
    /* Meanwhile the server may have left, or the lease may be over: the job is another connection's, or goes back. */
    if (smtp_client_want(c->client) != WANT_MESSAGE || c->relay->finished || c->job->item->is_stale || !cluster_may_send(c->relay)) {
        struct job *job = c->job;
        c->job = NULL;
        forget(c);
        site_requeue(c->site, job);
    } else {
        begin(c);
    }
    connection_step(c);
}

void transaction_next(struct connection *c)
{
    int64_t now_ms = clock_mono_ms();
    c->phase = PHASE_TALKING;
    c->is_usable = true;
    if (c->options.tls != SMTP_TLS_NEVER && !smtp_client_is_secured(c->client))
        connection_count_tls(c, "starttls-not-supported", NULL);
    if (c->relay->finished || is_worn_out(c) || site_is_crowded(c->site)) {
        smtp_client_quit(c->client, now_ms);
        return;
    }
    c->job = site_take(c->site, c);
    if (!c->job) {
        c->phase = PHASE_IDLE;
        connection_arm(c, now_ms + c->relay->config->delivery.idle_ms);
        return;
    }
    split(c);
    c->transaction_ms = now_ms;
    c->wait = (struct fetch_wait){.fn = transaction_read};
    if (item_is_here(c->job->item)) {
        begin(c);
    } else {
        c->phase = PHASE_READING;
        fetch_start(c->job->item, &c->wait);
    }
}

/* A kept connection that the server had closed meanwhile says nothing about the message. */
static bool was_stale(const struct connection *c)
{
    const struct smtp_result *first = &c->transaction.recipients[0].result;
    return c->transactions > 0 && first->kind == RESULT_DEFERRED && first->code == 0 && first->is_host_failure
           && first->stage && strcmp(first->stage, "mail") == 0;
}

static bool wants_other_host(const struct smtp_result *result)
{
    return (result->kind == RESULT_DEFERRED && result->is_host_failure)
           || (result->kind == RESULT_FAILED
               && (strcmp(result->status, "5.6.7") == 0 || strcmp(result->status, "5.7.30") == 0));
}

/* What the refusals of a transaction mean. */
struct judged { const struct reply_class **classes; bool is_other_family; };

static bool wants_other_family(const struct attempt *attempt)
{
    return attempt->class && attempt->class->is_other_family && attempt->kind == RESULT_DEFERRED;
}

static void judge_all(struct connection *c, struct judged *ret_judged)
{
    size_t count = c->job->count;
    ret_judged->classes = arena_alloc(&c->arena, count * sizeof *ret_judged->classes);
    for (size_t i = 0; i < count; i++) {
        struct smtp_result *result = &c->transaction.recipients[i].result;
        const struct reply_class *class = ret_judged->classes[i] = transaction_judge(c, result);
        ret_judged->is_other_family = ret_judged->is_other_family
                                      || (class && class->is_other_family && result->kind == RESULT_DEFERRED);
    }
}

/* The site learns from the first refusal that speaks of it, else from a delivery. */
static void tell_site(struct connection *c, const struct judged *judged, bool has_worked)
{
    for (size_t i = 0; judged->classes && i < c->job->count; i++) {
        const struct reply_class *class = judged->classes[i];
        if (!class || (!class->is_slow && !(class->is_other_family && judged->is_other_family)))
            continue;
        struct attempt attempt = transaction_attempt(c, &c->transaction.recipients[i].result);
        attempt.class = class;
        if (class->is_slow)
            site_complained(c->site, &attempt);
        else
            site_leave_ipv6(c->site, &attempt);
        return;
    }
    if (has_worked) {
        struct smtp_result taken = {.kind = RESULT_DELIVERED};
        struct attempt attempt = transaction_attempt(c, &taken);
        site_delivered(c->site, &attempt);
    }
}

void transaction_settle(struct connection *c)
{
    struct job *job = c->job, *again = NULL, *other = NULL;
    bool is_stale = was_stale(c), has_worked = false, has_host_failure = false, is_other_left = false;
    struct judged judged = {0};
    if (!is_stale)
        judge_all(c, &judged);
    for (size_t i = 0; !is_stale && i < job->count; i++)
        has_host_failure = has_host_failure || wants_other_host(&c->transaction.recipients[i].result);
    uint64_t tried = job->tried;
    if (has_host_failure)
        is_other_left = job_tried(job, c->address);
    if (judged.is_other_family)
        is_other_left = job_tried_ipv6(job);
    c->settle = settle_create(job->item);
    for (size_t i = 0; i < job->count; i++) {
        const struct smtp_result *result = &c->transaction.recipients[i].result;
        struct attempt attempt = transaction_attempt(c, result);
        attempt.class = judged.classes ? judged.classes[i] : NULL;
        has_worked = has_worked || result->kind == RESULT_DELIVERED;
        if (result->kind == RESULT_AGAIN || is_stale) {
            again = again ? again : job_create(job->item, job->route, tried);
            job_add(again, job->recipients[i]);
        } else if ((wants_other_host(result) || wants_other_family(&attempt)) && is_other_left) {
            if (!other) {
                other = job_create(job->item, job->route, job->tried);
                attempt_keep(&job->item->arena, &attempt, &other->failure);
            }
            job_add(other, job->recipients[i]);
        } else {
            settle_add(c->settle, job->recipients[i], &attempt);
        }
    }
    if (has_worked)
        site_worked(c->site);
    tell_site(c, &judged, has_worked);
    if (has_host_failure) {
        struct attempt attempt = transaction_attempt(c, &c->transaction.recipients[0].result);
        site_host_failed(c->site, &attempt, c->address, true);
    }
    if (again)
        site_requeue(c->site, again);
    if (other)
        site_requeue(c->site, other);
    c->transactions++;
    c->phase = PHASE_SETTLING;
    struct settle *settle = c->settle;
    forget(c);
    settle_submit(settle, c);
}
