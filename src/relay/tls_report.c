/* Reports about TLS (RFC 8460): sessions are counted as connections are secured or fail, and finished days are reported, a domain
 * after the other: its _smtp._tls record is looked up, and each address in it gets the report. */
#include "relay/relay_private.h"

#include "base/mem.h"
#include "message/address.h"
#include "os/clock.h"
#include "os/https.h"
#include "outcome/tlsrpt.h"
#include "pickup/pickup_writer.h"
#include "route/dns.h"
#include "route/unbound.h"

#include <arpa/inet.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>

enum { LOOK_EVERY_S = 60, ID_SIZE = 33, ANSWER_SIZE_MAX = 64 * 1024, HTTPS_TIMEOUT_MS = 60000, PAUSE_MS = 20, AGAIN_MS = 3600 * 1000 };
#define DAY_MS (24 * 3600 * 1000LL)
#define KEPT_MS (3 * DAY_MS) /* a report that can't be delivered is given up (RFC 8460 5.5 says 24 hours at least) */

struct tls_reports {
    struct relay *relay;
    struct tlsrpt *counts;
    struct timer *save, *look;
    struct unbound *unbound;
    struct resolver resolver;
    struct https *https;
    int64_t delay_ms;
    /* the domain that is being reported */
    json_t *domains;           /* of the day; NULL: none is under way */
    char day[TLSRPT_DAY_SIZE], passed[TLSRPT_DAY_SIZE], *domain, id[ID_SIZE]; /* passed: the last day that was gone through */
    int question;              /* libunbound's; 0: none */
    struct buf gzipped;
    struct https_call *call;
    struct arena arena;
    const char *rua[TLSRPT_RUA_MAX];
    size_t rua_count, rua_next;
    bool is_delivered;
    json_t *skipped;           /* domains of the day that have to be tried again another time */
    bool has_skipped;          /* of any day */
};

static void next_address(struct tls_reports *r);

static void tell(struct tls_reports *r, enum event_kind kind, const char *to, const char *reason)
{
    struct event event = EVENT(kind);
    char note[400];
    (void)snprintf(note, sizeof note, "TLS report of %s for %s%s%s", r->day, r->domain ? r->domain : "?", to ? " to " : "", to ? to : "");
    event.note = slice_of(note);
    event.reason = slice_of(reason);
    event_put(r->relay->parts.log, &event);
    event_flush(r->relay->parts.log);
}

/* ---- counting ---- */

static void on_save(void *arg)
{
    struct tls_reports *r = arg;
    struct error error;
    if (!tlsrpt_save(r->counts, &error))
        tell(r, EVENT_WARNING, NULL, error.text);
}

static json_t *sts_strings(const struct sts_policy *policy)
{
    json_t *lines = json_array();
    struct slice rest = slice_of(policy->text);
    while (rest.size) {
        struct slice line = slice_trim(slice_cut(&rest, '\n'));
        if (line.size)
            json_array_append_new(lines, json_stringn(line.data, line.size));
    }
    return lines;
}

static json_t *tlsa_strings(const struct tls_policy *policy)
{
    json_t *lines = json_array();
    for (size_t i = 0; i < policy->tlsa_count; i++) {
        struct buf text = {0};
        buf_printf(&text, "%u %u %u ", policy->tlsa[i].usage, policy->tlsa[i].selector, policy->tlsa[i].matching);
        for (size_t k = 0; k < policy->tlsa[i].size; k++)
            buf_printf(&text, "%02x", policy->tlsa[i].data[k]);
        json_array_append_new(lines, json_string(buf_text(&text)));
        buf_finish(&text);
    }
    return lines;
}

static struct tlsrpt_policy policy_of(const struct route *route, const struct tls_policy *policy)
{
    if (policy->source == TLS_BY_DANE)
        return (struct tlsrpt_policy){"tlsa", tlsa_strings(policy), NULL};
    if (!route->sts || route->sts->mode == STS_NONE)
        return (struct tlsrpt_policy){"no-policy-found", NULL, NULL};
    json_t *hosts = json_array();
    for (size_t i = 0; i < route->sts->pattern_count; i++)
        json_array_append_new(hosts, json_string(route->sts->patterns[i]));
    return (struct tlsrpt_policy){"sts", sts_strings(route->sts), hosts};
}

void tls_reports_count(struct relay *relay, const struct site *site, const struct route *route, const struct tls_policy *policy,
                       const struct tlsrpt_failure *failure)
{
    struct tls_reports *r = relay->tls_reports;
    int64_t now_ms = clock_wall_ms();
    /* Reports' own mail is on sites of this kind, and tells nothing of the domain's mail. */
    if (!r || site->demand == TLS_DEMAND_OPTIONAL || route->domain[0] == '[' || (site->rule && site->rule->hosts.count))
        return;
    struct tlsrpt_policy about = policy_of(route, policy);
    bool is_due = tlsrpt_count(r->counts, route->domain, &about, failure, now_ms);
    if (route->sts_problem && !route->sts) {
        struct tlsrpt_policy none = {"sts", NULL, NULL};
        struct tlsrpt_failure fetch = {.type = "sts-policy-fetch-error", .reason = route->sts_problem};
        is_due = tlsrpt_count(r->counts, route->domain, &none, &fetch, now_ms) || is_due;
    }
    if (is_due && !timer_is_set(r->save))
        timer_set(r->save, TLSRPT_SAVE_MS);
}

/* ---- one domain's report ---- */

/* Done with it, or to be tried again at another time. */
static void end_domain(struct tls_reports *r, bool is_done)
{
    struct error error;
    r->has_skipped = r->has_skipped || !is_done;
    if (!is_done)
        (void)json_object_set(r->skipped, r->domain, json_object_get(r->domains, r->domain));
    (void)json_object_del(r->domains, r->domain);
    json_t *left = json_copy(r->domains);
    (void)json_object_update(left, r->skipped);
    if (!tlsrpt_write(r->relay->parts.queue_dir, r->day, left, &error))
        tell(r, EVENT_WARNING, NULL, error.text);
    json_decref(left);
    free(r->domain);
    r->domain = NULL;
    buf_clear(&r->gzipped);
    arena_reset(&r->arena);
    timer_set(r->look, PAUSE_MS);
}

static bool write_mail(struct tls_reports *r, const char *to, struct error *error)
{
    const struct config *config = r->relay->config;
    struct buf message = {0};
    struct address address;
    char name[PICKUP_WRITER_NAME_SIZE];
    struct slice text = slice_of(to);
    text = slice_cut(&text, '!'); /* a size limit, as in DMARC's */
    text = slice_cut(&text, '?');
    if (!address_parse(&r->arena, text, &address, error) || address.domain.size == 0)
        return error_set(error, "no address: %s", to);
    tlsrpt_compose_mail(config, r->domain, r->day, r->id, arena_text(&r->arena, address.text), buf_slice(&r->gzipped), &message);
    struct submission_recipient recipient = {.address = address.text};
    char from[300];
    (void)snprintf(from, sizeof from, "smtp-tls-reporting@%s", config->default_domain);
    struct submission submission = {.sender = slice_of(config->tlsrpt.from ? config->tlsrpt.from : from), .recipients = &recipient,
                                    .recipient_count = 1, .message = buf_slice(&message)};
    bool is_done = pickup_write(config->pickup.dir, &submission, name, error);
    buf_finish(&message);
    return is_done;
}

static void on_posted(void *arg, const struct https_answer *answer)
{
    struct tls_reports *r = arg;
    char reason[200];
    const char *to = r->rua[r->rua_next - 1];
    r->call = NULL;
    if (answer->status / 100 == 2) {
        r->is_delivered = true;
        tell(r, EVENT_REPORTED, to, NULL);
    } else {
        (void)snprintf(reason, sizeof reason, "%s %d", answer->problem ? answer->problem : "the server answers", answer->status);
        tell(r, EVENT_WARNING, to, reason);
    }
    next_address(r);
}

/* "https://host:port/path": host and port. */
static bool split_url(const char *url, char ret_host[DNS_NAME_SIZE], unsigned *ret_port)
{
    struct slice rest = slice_from(slice_of(url), 8);
    struct slice authority = slice_cut(&rest, '/');
    struct slice host = slice_cut(&authority, ':');
    uint64_t port = 443;
    if (host.size == 0 || host.size >= DNS_NAME_SIZE || host.data[0] == '[' || slice_find_byte(host, '@') >= 0
        || (authority.size && (!slice_to_u64(authority, &port) || port == 0 || port > 65535)))
        return false;
    (void)snprintf(ret_host, DNS_NAME_SIZE, "%.*s", SLICE_FMT(host));
    *ret_port = (unsigned)port;
    return true;
}

/* An answer's addresses that mail might go to as well, as libcurl wants them: a rua must not lead into our own network. */
static void add_addresses(const struct relay *relay, const struct ub_result *result, int family, struct buf *out)
{
    for (size_t i = 0; result->havedata && result->data[i]; i++) {
        struct sockaddr_in v4 = {.sin_family = AF_INET};
        struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
        char text[INET6_ADDRSTRLEN];
        bool is_v4 = family == AF_INET && result->len[i] == 4;
        if (!is_v4 && result->len[i] != 16)
            continue;
        memcpy(is_v4 ? (void *)&v4.sin_addr : (void *)&v6.sin6_addr, result->data[i], (size_t)result->len[i]);
        if (!relay->config->dns.is_private_allowed && !route_address_is_public(is_v4 ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6))
            continue;
        buf_printf(out, "%s%s%s%s", out->size ? "," : "", is_v4 ? "" : "[", inet_ntop(family, result->data[i], text, sizeof text), is_v4 ? "" : "]");
    }
}

static void post_report(struct tls_reports *r, const char *to, struct slice addresses)
{
    char host[DNS_NAME_SIZE];
    unsigned port;
    CHECK(split_url(to, host, &port));
    struct slice resolve = arena_printf(&r->arena, "%s:%u:%.*s", host, port, SLICE_FMT(addresses));
    struct https_request request = {.url = to, .ca_file = r->relay->config->mta_sts.ca_file, .timeout_ms = HTTPS_TIMEOUT_MS,
                                    .resolve = arena_text(&r->arena, resolve), .size_max = ANSWER_SIZE_MAX,
                                    .body = buf_slice(&r->gzipped), .content_type = "application/tlsrpt+gzip"};
    r->call = https_ask(r->https, &request, on_posted, r);
}

static bool ask_addresses(struct tls_reports *r, const char *to, int type);

static void on_addresses(void *arg, int problem, struct ub_result *result)
{
    struct tls_reports *r = arg;
    const char *to = r->rua[r->rua_next - 1];
    struct buf addresses = {0};
    int type = result ? result->qtype : DNS_AAAA;
    r->question = 0;
    if (problem == 0 && result && !result->bogus)
        add_addresses(r->relay, result, type == DNS_A ? AF_INET : AF_INET6, &addresses);
    ub_resolve_free(result);
    if (addresses.size) {
        post_report(r, to, buf_slice(&addresses));
    } else if (type != DNS_A || !ask_addresses(r, to, DNS_AAAA)) {
        tell(r, EVENT_WARNING, to, "its host has no address that it may have");
        next_address(r);
    }
    buf_finish(&addresses);
}

static bool ask_addresses(struct tls_reports *r, const char *to, int type)
{
    char host[DNS_NAME_SIZE];
    unsigned port;
    return split_url(to, host, &port) && r->resolver.ask(r->resolver.arg, host, type, on_addresses, r, &r->question);
}

static void next_address(struct tls_reports *r)
{
    struct error error;
    while (r->rua_next < r->rua_count) {
        const char *to = r->rua[r->rua_next++];
        if (slice_starts_nocase(slice_of(to), SLICE("mailto:"))) {
            bool is_done = write_mail(r, to + 7, &error);
            r->is_delivered = r->is_delivered || is_done;
            tell(r, is_done ? EVENT_REPORTED : EVENT_WARNING, to, is_done ? NULL : error.text);
            continue;
        }
        if (ask_addresses(r, to, DNS_A))
            return;
        tell(r, EVENT_WARNING, to, "its host can't be looked up");
    }
    end_domain(r, r->is_delivered);
}

static void compose(struct tls_reports *r)
{
    struct buf text = {0};
    unsigned char random[(ID_SIZE - 1) / 2];
    CHECK(RAND_bytes(random, sizeof random) == 1);
    for (size_t i = 0; i < sizeof random; i++)
        (void)snprintf(r->id + 2 * i, 3, "%02x", random[i]);
    tlsrpt_compose(r->relay->config, r->domain, json_object_get(r->domains, r->domain), r->day, r->id, &text);
    CHECK(tlsrpt_gzip(buf_slice(&text), &r->gzipped));
    buf_finish(&text);
}

static void on_record(void *arg, int problem, struct ub_result *result)
{
    struct tls_reports *r = arg;
    bool is_unknown = problem != 0 || !result || (result->rcode != 0 && result->rcode != 3) || result->bogus;
    size_t records = 0;
    r->question = 0;
    r->rua_count = r->rua_next = 0;
    for (size_t i = 0; !is_unknown && result->havedata && result->data[i]; i++) {
        struct buf text = {0};
        dns_join_strings(result->data[i], (size_t)result->len[i], &text);
        if (slice_starts(buf_slice(&text), SLICE("v=TLSRPTv1"))) {
            records++;
            r->rua_count = tlsrpt_record_parse(&r->arena, buf_slice(&text), r->rua);
        }
        buf_finish(&text);
    }
    ub_resolve_free(result);
    if (records != 1)
        r->rua_count = 0; /* RFC 8460 3: several records are none */
    if (r->rua_count == 0) {
        end_domain(r, !is_unknown);
        return;
    }
    r->is_delivered = false;
    compose(r);
    next_address(r);
}

/* ---- one after another ---- */

static void next_domain(struct tls_reports *r)
{
    char name[DNS_NAME_SIZE + 16];
    void *first = json_object_iter(r->domains);
    if (!first || r->relay->finished) {
        json_decref(r->domains);
        r->domains = NULL;
        memcpy(r->passed, r->day, sizeof r->passed);
        timer_set(r->look, PAUSE_MS);
        return;
    }
    r->domain = mem_copy_text(json_object_iter_key(first));
    (void)snprintf(name, sizeof name, "_smtp._tls.%s", r->domain);
    if (!r->resolver.ask(r->resolver.arg, name, DNS_TXT, on_record, r, &r->question))
        end_domain(r, false);
}

static void begin_day(struct tls_reports *r)
{
    char today[TLSRPT_DAY_SIZE], end[TLSRPT_DAY_SIZE], begin[TLSRPT_DAY_SIZE];
    struct error error;
    int64_t now_ms = clock_wall_ms();
    tlsrpt_day(now_ms, today);
    tlsrpt_day(now_ms - KEPT_MS, begin);
    tlsrpt_day(now_ms - r->delay_ms, end); /* a day is due when it is over for so long */
    if (!tlsrpt_next(r->relay->parts.queue_dir, r->passed, end, r->day)) {
        timer_set(r->look, r->has_skipped ? AGAIN_MS : LOOK_EVERY_S * 1000);
        r->passed[0] = '\0';
        r->has_skipped = false;
        return;
    }
    r->domains = tlsrpt_read(r->relay->parts.queue_dir, r->day, &error);
    (void)json_object_clear(r->skipped);
    if (!r->domains || strcmp(r->day, begin) < 0) { /* unreadable, or too old */
        json_t *none = json_object();
        tell(r, EVENT_WARNING, NULL, r->domains ? "given up: it could not be delivered for three days" : error.text);
        json_decref(r->domains);
        r->domains = NULL;
        (void)!tlsrpt_write(r->relay->parts.queue_dir, r->day, none, NULL);
        json_decref(none);
        timer_set(r->look, PAUSE_MS);
        return;
    }
    next_domain(r);
}

static void on_look(void *arg)
{
    struct tls_reports *r = arg;
    if (r->domains)
        next_domain(r);
    else
        begin_day(r);
}

bool tls_reports_start(struct relay *relay, struct error *error)
{
    struct event_base *base = relay->parts.base;
    if (!relay->config->tlsrpt.is_on || relay->parts.is_rehearsal)
        return true;
    struct tls_reports *r = relay->tls_reports = mem_alloc(sizeof *r);
    r->relay = relay;
    r->skipped = json_object();
    r->counts = tlsrpt_open(relay->parts.queue_dir, clock_wall_ms(), error);
    r->unbound = r->counts ? unbound_create(base, relay->config, error) : NULL;
    r->https = r->unbound ? https_create(base, error) : NULL;
    if (!r->https)
        return false;
    r->delay_ms = relay->config->tlsrpt.delay_ms ? (int64_t)relay_random(relay) * 1000 % relay->config->tlsrpt.delay_ms : 0;
    r->save = timer_make(base, on_save, r);
    r->look = timer_make(base, on_look, r);
    r->resolver = unbound_resolver(r->unbound);
    timer_set(r->look, PAUSE_MS);
    return true;
}

void tls_reports_end(struct relay *relay)
{
    struct tls_reports *r = relay->tls_reports;
    if (!r)
        return;
    timer_free(&r->save);
    timer_free(&r->look);
    https_destroy(&r->https);
    unbound_destroy(&r->unbound);
    tlsrpt_close(&r->counts);
    json_decref(r->domains);
    json_decref(r->skipped);
    free(r->domain);
    buf_finish(&r->gzipped);
    arena_finish(&r->arena);
    free(r);
    relay->tls_reports = NULL;
}
