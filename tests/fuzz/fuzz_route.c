/* DNS that answers anything, through to routing: MX, addresses, CNAMEs, TLSA. Whatever is answered ends in a route; only a sound answer
 * fails mail for good; no host is reached at an address that is not public; the questions are bounded.
 * libunbound is played: an answer is an octet of flags, one of the rcode, then records with a length each. */
#include "base/check.h"
#include "route/dns.h"
#include "route/route.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ASKED_MAX = 2 + 3 * ROUTE_HOSTS_MAX * 3, RECORDS_MAX = 60 };

static struct asked { void *arg; ub_callback_type fn; int type, id; } asked[ASKED_MAX];
static size_t asked_count;
static int asked_id;
static struct slice script;

int ub_resolve_async(struct ub_ctx *context, const char *name, int type, int class, void *arg, ub_callback_type fn, int *ret_id)
{
    (void)context;
    (void)class;
    CHECK(strlen(name) < 260 && asked_count < ASKED_MAX);
    asked[asked_count++] = (struct asked){arg, fn, type, *ret_id = ++asked_id};
    return 0;
}

int ub_cancel(struct ub_ctx *context, int id)
{
    (void)context;
    for (size_t i = 0; i < asked_count; i++)
        if (asked[i].id == id) {
            asked[i] = asked[--asked_count];
            return 0;
        }
    return UB_NOID;
}

void ub_resolve_free(struct ub_result *result)
{
    for (size_t i = 0; result && result->data[i]; i++)
        free(result->data[i]);
    if (!result)
        return;
    free(result->data);
    free(result->len);
    free(result->canonname);
    free(result);
}

static unsigned next_octet(void)
{
    unsigned octet = script.size ? (unsigned char)script.data[0] : 0;
    script = slice_from(script, script.size > 0);
    return octet;
}

static struct ub_result *make_result(int type)
{
    struct ub_result *result = calloc(1, sizeof *result);
    unsigned flags = next_octet(), rcode = next_octet(), count = flags & 1 ? next_octet() % RECORDS_MAX : 0;
    CHECK(result && (result->data = calloc(count + 1, sizeof *result->data)) && (result->len = calloc(count + 1, sizeof *result->len)));
    result->qtype = type;
    result->rcode = rcode < 128 ? 0 : (int)(rcode % 16);
    result->secure = flags >> 1 & 1;
    result->bogus = !result->secure && (flags & 0x1c) == 0x1c;
    result->nxdomain = result->rcode == 3;
    result->ttl = (int)(flags >> 5) * 1000;
    for (unsigned i = 0; i < count; i++) {
        size_t size = flags & 0x20 && type == DNS_A ? 4 : flags & 0x20 && type == DNS_AAAA ? 16 : next_octet();
        if (size > script.size)
            size = script.size;
        CHECK((result->data[i] = malloc(size + 1)) != NULL);
        memcpy(result->data[i], script.data ? script.data : "", size);
        result->len[i] = (int)size;
        script = slice_from(script, size);
    }
    result->havedata = count > 0 && result->rcode == 0;
    if (flags & 0x40)
        result->canonname = strndup(script.size ? script.data : "", script.size < 20 ? script.size : 20);
    return result;
}

static void check_host(const struct route *route, const struct route_host *host, const struct config *config)
{
    struct tls_policy policy;
    CHECK(host->name[0] && host->address_count > 0 && host->address_count <= ROUTE_ADDRESSES_MAX);
    for (const char *c = host->name; *c; c++)
        CHECK(*c > ' ' && *c < 0x7f);
    for (size_t i = 0; i < host->address_count; i++)
        CHECK(route_address_is_public(&host->addresses[i].to.any));
    for (int demand = TLS_DEMAND_NONE; demand <= TLS_DEMAND_OPTIONAL; demand++)
        route_tls(route, host, config, (enum tls_demand)demand, &policy);
    CHECK(!host->dane || host->dane->state != DANE_FAILED || (route_tls(route, host, config, TLS_DEMAND_NONE, &policy), policy.is_barred));
}

static const struct config *configured(void)
{
    static struct config config;
    config.hostname = (char *)(uintptr_t) "me.test";
    config.dns.is_ipv4 = config.dns.is_ipv6 = true;
    config.dns.timeout_ms = 5000;
    config.dns.trust_anchor = (char *)(uintptr_t) "/usr/share/dns/root.key";
    config.delivery.port = 25;
    config.delivery.is_dane = true;
    config.delivery.tls = CONFIG_TLS_MAY;
    return &config;
}

static void on_route(void *arg, struct route *route)
{
    *(bool *)arg = true;
    CHECK(route->kind == ROUTE_HOSTS || route->code == 451 || route->code == 550 || route->code == 556);
    CHECK(route->kind == ROUTE_HOSTS || (route->kind == ROUTE_DEFERRED) == (route->code == 451));
    CHECK(route->kind != ROUTE_HOSTS || (route->usable_count > 0 && route->usable_count <= route->host_count));
    for (size_t i = 0; i < route->usable_count; i++)
        check_host(route, &route->hosts[i], configured());
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct event_base *base;
    static struct router *router;
    struct error error;
    bool is_done = false;
    if (!router) {
        base = event_base_new();
        router = router_create(base, configured(), NULL, &error);
        CHECK(router);
    }
    script = slice_make((const char *)data, size);
    route_lookup(router, SLICE("x.test"), SLICE_NONE, on_route, &is_done);
    for (size_t answered = 0; asked_count; answered++) {
        size_t place = next_octet() % asked_count;
        struct asked one = asked[place];
        CHECK(answered < ASKED_MAX);
        asked[place] = asked[--asked_count];
        bool is_lost = script.size && (unsigned char)script.data[0] == 0xff;
        one.fn(one.arg, is_lost ? UB_NOMEM : 0, is_lost ? (next_octet(), NULL) : make_result(one.type));
    }
    CHECK(is_done);
    router_forget(router);
    return 0;
}
