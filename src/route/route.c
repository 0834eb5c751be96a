#include "route/route_private.h"

#include "base/mem.h"
#include "os/clock.h"

#include <stdio.h>
#include <stdlib.h>

enum { CACHE_MAX = 50000 };

/* ---- routes ---- */

struct dane *dane_hold(struct dane *dane)
{
    if (dane)
        dane->references++;
    return dane;
}

void dane_release(struct dane **dane)
{
    struct dane *d = *dane;
    *dane = NULL;
    if (!d || --d->references)
        return;
    free(d->records);
    free(d->name);
    free(d);
}

/* N11. */
static enum config_tls config_level(const struct config *config, const struct config_route *rule, const struct route_host *host)
{
    bool has_login = config_route_has_login(rule);
    if (has_login && host->is_smart)
        return rule->tls >= 0 ? (enum config_tls)rule->tls : CONFIG_TLS_VERIFY;
    return (enum config_tls)(rule && rule->tls >= 0 && !has_login ? rule->tls : config->delivery.tls);
}

void route_tls(const struct route *route, const struct route_host *host, const struct config *config,
               enum tls_demand demand, struct tls_policy *ret_policy)
{
    const struct config_route *rule = route->rule;
    const struct dane *dane = host->dane;
    struct tls_known known = {
        .host = host->name, .domain = route->domain, .is_host_vouched = host->is_vouched,
        .dane = dane ? dane->state : DANE_ABSENT, .dane_name = dane ? dane->name : NULL,
        .tlsa = dane ? dane->records : NULL, .tlsa_count = dane ? dane->count : 0,
        .sts = host->is_smart ? NULL : route->sts,
        .config = config_level(config, rule, host), .is_implicit = host->is_implicit,
        .fingerprints = rule && rule->fingerprints.count ? &rule->fingerprints : &config->delivery.fingerprints,
        .demand = demand,
    };
    tls_policy_find(&known, ret_policy);
}

struct route *route_hold(struct route *route)
{
    route->references++;
    return route;
}

void route_release(struct route **route)
{
    struct route *r = *route;
    *route = NULL;
    if (!r || --r->references)
        return;
    for (size_t i = 0; i < r->host_count; i++) {
        free(r->hosts[i].name);
        dane_release(&r->hosts[i].dane);
    }
    sts_policy_release(&r->sts);
    free(r->sts_problem);
    free(r->hosts);
    free(r->domain);
    free(r->site);
    free(r->reason);
    free(r);
}

uint32_t router_random(struct router *router)
{
    router->random ^= router->random << 13;
    router->random ^= router->random >> 7;
    router->random ^= router->random << 17;
    return (uint32_t)(router->random >> 32);
}

void route_shuffle(struct router *router, struct route *route)
{
    if (strcmp(route->source, "mx") != 0)
        return; /* the config's order counts */
    for (size_t first = 0, end; first < route->usable_count; first = end) {
        for (end = first + 1; end < route->usable_count; end++)
            if (route->hosts[end].preference != route->hosts[first].preference)
                break;
        for (size_t i = end - 1; i > first; i--) {
            size_t other = first + router_random(router) % (i - first + 1);
            struct route_host host = route->hosts[i];
            route->hosts[i] = route->hosts[other];
            route->hosts[other] = host;
        }
    }
}

/* What is given out from the cache: another order of equals each time (N1). */
static struct route *shuffled(struct router *router, struct route *route)
{
    if (route->usable_count < 2)
        return route_hold(route);
    struct route *copy = mem_alloc(sizeof *copy);
    *copy = *route;
    copy->references = 1;
    copy->domain = mem_copy_text(route->domain);
    copy->site = mem_copy_text(route->site);
    copy->reason = route->reason ? mem_copy_text(route->reason) : NULL;
    (void)sts_policy_hold(copy->sts);
    copy->sts_problem = route->sts_problem ? mem_copy_text(route->sts_problem) : NULL;
    copy->hosts = mem_alloc(route->host_count * sizeof *copy->hosts);
    memcpy(copy->hosts, route->hosts, route->host_count * sizeof *copy->hosts);
    for (size_t i = 0; i < route->host_count; i++) {
        copy->hosts[i].name = mem_copy_text(route->hosts[i].name);
        (void)dane_hold(copy->hosts[i].dane);
    }
    route_shuffle(router, copy);
    return copy;
}

/* ---- cache ---- */

static void entry_destroy(struct cached *entry)
{
    struct router *router = entry->router;
    if (entry->search)
        search_cancel(entry->search);
    while (entry->waiters) {
        struct waiter *waiter = entry->waiters;
        entry->waiters = waiter->next;
        free(waiter);
    }
    HASH_DEL(router->cache, entry);
    route_release(&entry->route);
    free(entry->key);
    free(entry);
}

/* Room for one more: what has expired goes, or else everything that is not being looked up. */
static void make_room(struct router *router)
{
    struct cached *entry, *next;
    int64_t now_ms = clock_mono_ms();
    if (HASH_COUNT(router->cache) < CACHE_MAX)
        return;
    HASH_ITER(hh, router->cache, entry, next)
        if (entry->route && entry->route->expires_ms <= now_ms)
            entry_destroy(entry);
    if (HASH_COUNT(router->cache) < CACHE_MAX)
        return;
    router_forget(router);
}

void router_forget(struct router *router)
{
    struct cached *entry, *next;
    HASH_ITER(hh, router->cache, entry, next)
        if (entry->route)
            entry_destroy(entry);
}

static struct cached *entry_get(struct router *router, struct slice domain, struct slice reroute)
{
    struct buf key = {0};
    struct cached *entry;
    buf_append(&key, domain);
    buf_append_byte(&key, '>');
    buf_append(&key, reroute);
    const char *text = buf_text(&key);
    HASH_FIND(hh, router->cache, text, key.size, entry);
    if (entry && entry->route && entry->route->expires_ms <= clock_mono_ms()) {
        entry_destroy(entry);
        entry = NULL;
    }
    if (entry) {
        buf_finish(&key);
        return entry;
    }
    make_room(router);
    size_t size = key.size;
    entry = mem_alloc(sizeof *entry);
    entry->router = router;
    entry->key = buf_take(&key);
    HASH_ADD_KEYPTR(hh, router->cache, entry->key, size, entry);
    return entry;
}

void search_done(struct cached *entry, struct route *route)
{
    struct waiter *waiters = entry->waiters;
    entry->search = NULL;
    entry->route = route;
    entry->waiters = NULL;
    (void)route_hold(route); /* the callbacks may forget the entry */
    struct router *router = entry->router;
    while (waiters) {
        struct waiter *waiter = waiters;
        waiters = waiter->next;
        struct route *given = shuffled(router, route);
        waiter->fn(waiter->arg, given);
        route_release(&given);
        free(waiter);
    }
    route_release(&route);
}

void route_lookup(struct router *router, struct slice domain, struct slice reroute, route_fn *fn, void *arg)
{
    struct cached *entry = entry_get(router, domain, reroute);
    if (entry->route) {
        struct route *given = shuffled(router, entry->route);
        fn(arg, given);
        route_release(&given);
        return;
    }
    struct waiter *waiter = mem_alloc(sizeof *waiter);
    *waiter = (struct waiter){fn, arg, entry->waiters};
    bool is_first = !entry->waiters;
    entry->waiters = waiter;
    if (is_first)
        search_start(entry, domain, reroute);
}

/* ---- life ---- */

struct router *router_create(struct event_base *base, const struct config *config, const struct resolver *resolver, struct error *error)
{
    struct router *router = mem_alloc(sizeof *router);
    router->base = base;
    router->config = config;
    router->random = (uint64_t)clock_wall_ns() | 1;
    if (!resolver)
        router->unbound = unbound_create(base, config, error);
    bool is_open = resolver || router->unbound;
    if (is_open)
        router->resolver = resolver ? *resolver : unbound_resolver(router->unbound);
    if (is_open && router->unbound && config->mta_sts.is_on) /* policies are of the real network */
        is_open = (router->sts = sts_create(base, config, &router->resolver, error)) != NULL;
    if (!is_open)
        router_destroy(&router);
    return router;
}

void router_watch_dns(struct router *router, void (*fn)(void *arg, const char *problem), void *arg)
{
    if (router->unbound)
        unbound_watch(router->unbound, fn, arg);
}

bool router_keep(struct router *router, struct error *error)
{
    return !router->sts || sts_keep(router->sts, error);
}

void router_destroy(struct router **router)
{
    struct router *r = *router;
    struct cached *entry, *next;
    if (!r)
        return;
    HASH_ITER(hh, r->cache, entry, next)
        entry_destroy(entry);
    sts_destroy(&r->sts);
    unbound_destroy(&r->unbound);
    free(r);
    *router = NULL;
}
