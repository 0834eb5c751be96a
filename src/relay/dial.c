#include "relay/relay_private.h"

#include "base/mem.h"
#include "os/clock.h"

#include <event2/util.h>
#include <stdio.h>
#include <stdlib.h>

enum { MARKS_MAX = 20000 };

/* ---- targets of a job ---- */

/* The n-th address of a route's usable hosts, in the order to try; false behind the last. */
static bool target_at(const struct route *route, size_t n, const struct route_host **ret_host,
                      const struct route_address **ret_address)
{
    for (size_t i = 0; i < route->usable_count; i++) {
        const struct route_host *host = &route->hosts[i];
        if (n < host->address_count) {
            *ret_host = host;
            *ret_address = &host->addresses[n];
            return true;
        }
        n -= host->address_count;
    }
    return false;
}

static size_t target_of(const struct route *route, const char *address)
{
    const struct route_host *host;
    const struct route_address *to;
    char text[64];
    for (size_t n = 0; n < TRIED_MAX && target_at(route, n, &host, &to); n++) {
        route_address_text(to, text, sizeof text);
        if (strcmp(text, address) == 0)
            return n;
    }
    return TRIED_MAX;
}

static bool is_any_left(const struct job *job)
{
    const struct route_host *host;
    const struct route_address *to;
    for (size_t n = 0; n < TRIED_MAX && target_at(job->route, n, &host, &to); n++)
        if (!(job->tried & (uint64_t)1 << n))
            return true;
    return false;
}

bool job_tried(struct job *job, const char *address)
{
    size_t place = target_of(job->route, address);
    if (place < TRIED_MAX)
        job->tried |= (uint64_t)1 << place;
    return is_any_left(job);
}

bool job_tried_ipv6(struct job *job)
{
    const struct route_host *host;
    const struct route_address *to;
    for (size_t n = 0; n < TRIED_MAX && target_at(job->route, n, &host, &to); n++)
        if (to->to.any.sa_family == AF_INET6)
            job->tried |= (uint64_t)1 << n;
    return is_any_left(job);
}

bool job_may_use(const struct job *job, const char *address)
{
    if (!job->tried)
        return true;
    size_t place = target_of(job->route, address);
    return place >= TRIED_MAX || !(job->tried & (uint64_t)1 << place);
}

bool route_has_family(const struct route *route, int family)
{
    const struct route_host *host;
    const struct route_address *to;
    for (size_t n = 0; n < TRIED_MAX && target_at(route, n, &host, &to); n++)
        if (to->to.any.sa_family == family)
            return true;
    return false;
}

/* ---- marks ---- */

struct host_mark *site_mark(struct relay *relay, const char *address, bool is_made)
{
    struct host_mark *mark, *next;
    HASH_FIND_STR(relay->marks, address, mark);
    if (mark || !is_made)
        return mark;
    if (HASH_COUNT(relay->marks) >= MARKS_MAX) {
        HASH_ITER(hh, relay->marks, mark, next) {
            HASH_DEL(relay->marks, mark);
            free(mark);
        }
    }
    mark = mem_alloc(sizeof *mark);
    (void)snprintf(mark->address, sizeof mark->address, "%s", address);
    HASH_ADD_STR(relay->marks, address, mark);
    return mark;
}

/* ---- which one is next ---- */

bool dial_source(const struct site *site, int family, struct sockaddr_storage *ret_from)
{
    const struct config_list *list = site->source ? &site->source->addresses : &site->relay->config->delivery.sources;
    for (size_t i = 0; i < list->count; i++) {
        int size = sizeof *ret_from;
        if (evutil_parse_sockaddr_port(list->items[i], (struct sockaddr *)ret_from, &size) == 0 && ret_from->ss_family == family)
            return true;
    }
    return false;
}

static bool is_barred(const struct site *site, const struct route *route, const struct route_host *host,
                      struct tls_policy *ret_policy)
{
    route_tls(route, host, site->relay->config, site->demand, ret_policy);
    return ret_policy->is_barred;
}

/* Families that the source does not have, or that the site said it does not like. */
static bool is_wrong_family(const struct site *site, const struct route *route, int family)
{
    struct sockaddr_storage from;
    if (site->source && (family == AF_INET || family == AF_INET6) && !dial_source(site, family, &from))
        return true;
    return family == AF_INET6 && site->pace->no_ipv6_until_ms > clock_wall_ms() && route_has_family(route, AF_INET);
}

void dial_note_barred(struct site *site, const struct job *job)
{
    struct tls_policy policy;
    const struct route_host *host = &job->route->hosts[0];
    if (site->failure.stage)
        return;
    bool is_policy = is_barred(site, job->route, host, &policy);
    struct attempt attempt = {.kind = RESULT_DEFERRED, .stage = is_policy ? "tls" : "connect",
                              .status = is_policy ? SLICE("4.7.5") : SLICE("4.4.1"),
                              .text = is_policy ? slice_of(policy.why) : SLICE("the source has no address of a family that the hosts have"),
                              .host = slice_of(host->name), .connect_ms = -1,
                              .policy = slice_of(tls_source_name(policy.source)), .transaction_ms = -1};
    struct tlsrpt_failure failure = {.type = policy.source == TLS_BY_DANE ? "dnssec-invalid" : "validation-failure", .host = host->name,
                                     .reason = policy.why};
    if (is_policy)
        tls_reports_count(site->relay, site, job->route, &policy, &failure);
    arena_reset(&site->arena);
    attempt_keep(&site->arena, &attempt, &site->failure);
    site->has_soft_failure = true;
}

/* Whether a connection to that address is being made for so long that the host's next one is dialled beside it. */
static bool is_dialled_slowly(const struct site *site, const char *address)
{
    for (struct connection *c = site->connections; c; c = connection_next(c))
        if (connection_is_slow(c) && strcmp(connection_address(c), address) == 0)
            return true;
    return false;
}

/* What failed the job is left out; so is, at first, what rests or was slow. A site that has not failed itself yet tries a host that
 * rests because of another. The next host's turn comes only when this one's addresses have failed (RFC 5321 5.1): slow ones among
 * them have not. */
static bool choose(struct site *site, const struct job *job, bool may_be_slow, const struct route_host **ret_host,
                   const struct route_address **ret_address)
{
    int64_t now_ms = clock_mono_ms();
    const struct route_host *slow = NULL;
    struct tls_policy policy;
    char text[64];
    for (size_t n = 0; n < TRIED_MAX && target_at(job->route, n, ret_host, ret_address); n++) {
        if (slow && *ret_host != slow)
            return false;
        if ((job->tried & (uint64_t)1 << n) || is_wrong_family(site, job->route, (*ret_address)->to.any.sa_family)
            || is_barred(site, job->route, *ret_host, &policy) || site_login_rests(site, *ret_host))
            continue;
        route_address_text(*ret_address, text, sizeof text);
        const struct host_mark *mark = site_mark(site->relay, text, false);
        if (mark && mark->rests_until_ms > now_ms && site->failure.stage)
            continue;
        if (is_dialled_slowly(site, text) || (!may_be_slow && mark && mark->slow_until_ms > now_ms)) {
            slow = *ret_host;
            continue;
        }
        return true;
    }
    return false;
}

bool dial_choose(struct site *site, const struct job *job, const struct route_host **ret_host,
                 const struct route_address **ret_address)
{
    return choose(site, job, false, ret_host, ret_address) || choose(site, job, true, ret_host, ret_address);
}

/* ---- several at once (RFC 8305 5) ---- */

size_t dial_slow_count(const struct site *site)
{
    size_t count = 0;
    for (struct connection *c = site->connections; c; c = connection_next(c))
        count += connection_is_slow(c);
    return count;
}

void dial_won(struct site *site, const struct connection *winner)
{
    for (struct connection *c = site->connections, *next; c; c = next) {
        next = connection_next(c);
        if (!connection_is_slow(c) || !connection_is_same_host(c, winner))
            continue;
        site_mark(site->relay, connection_address(c), true)->slow_until_ms = clock_mono_ms() + HOST_REST_MS;
        connection_destroy(c);
    }
}
