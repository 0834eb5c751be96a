#include "relay/relay_private.h"

#include "os/clock.h"

#include <stdio.h>

#define NO_IPV6_MS (24 * 3600 * 1000LL)

/* ---- where a message leaves from ---- */

/* What is reached, and all that makes connections of their own: the source, and what a message demands of TLS; whether a host is
 * vouched for is the domain's. */
void site_key(struct buf *key, const struct route *route, enum tls_demand demand, const struct config_source *source)
{
    if (source)
        buf_printf(key, "source %s\n", source->name);
    buf_append_text(key, route->site);
    if (demand == TLS_DEMAND_REQUIRED)
        buf_printf(key, "requiretls %s\n", route->domain);
    else if (demand == TLS_DEMAND_OPTIONAL)
        buf_append_text(key, "tls-required: no\n");
}

static struct slice sender_domain(const struct item *item)
{
    struct slice sender = item->queued->message.sender;
    for (size_t i = sender.size; i > 0; i--)
        if (sender.data[i - 1] == '@')
            return slice_from(sender, i);
    return SLICE("");
}

static struct pace_limits source_limits(const struct relay *relay, const struct config_source *source)
{
    return (struct pace_limits){.rates = &source->rates, .tune_interval_ms = relay->config->delivery.tune_interval_ms,
                                .nodes = cluster_nodes(relay), .rank = cluster_rank(relay)};
}

static const struct config_rates *rates_of(const struct relay *relay, const struct config_route *rule,
                                           const struct config_source *source)
{
    return source && source->site_rates.count ? &source->site_rates
           : rule && rule->rates.count        ? &rule->rates
                                              : &relay->config->delivery.rates;
}

static size_t configured_max(const struct relay *relay, const struct config_route *rule, const struct config_source *source)
{
    return (size_t)(source && source->site_connections_max ? source->site_connections_max
                    : rule && rule->connections_max        ? rule->connections_max
                                                           : relay->config->delivery.connections_per_site);
}

static struct pace_limits limits_of(const struct relay *relay, const struct config_route *rule, const struct config_source *source)
{
    return (struct pace_limits){rates_of(relay, rule, source), source && source->warmup.count ? &source->warmup : NULL,
                                configured_max(relay, rule, source), relay->config->delivery.tune_interval_ms, cluster_nodes(relay),
                                cluster_rank(relay)};
}

static int64_t wait_ms(const struct relay *relay, const struct pace *pace, const struct config_route *rule,
                       const struct config_source *source, char ret_limit[64])
{
    char limit[64];
    int64_t now_ms = clock_wall_ms();
    struct pace_limits limits = limits_of(relay, rule, source);
    int64_t most_ms = pace_wait_ms(pace, &limits, now_ms, ret_limit);
    if (pace->rests_until_ms - now_ms > most_ms) {
        most_ms = pace->rests_until_ms - now_ms;
        (void)snprintf(ret_limit, 64, "it rests");
    }
    if (!source)
        return most_ms;
    struct pace_limits all = source_limits(relay, source);
    int64_t source_ms = pace_wait_ms(source_state(relay, source)->pace, &all, now_ms, limit);
    if (source_ms > most_ms) {
        most_ms = source_ms;
        (void)snprintf(ret_limit, 64, "source: %.50s", limit);
    }
    return most_ms;
}

static int64_t wait_from(struct relay *relay, const struct route *route, const struct config_source *source, enum tls_demand demand)
{
    struct buf key = {0};
    char limit[64];
    site_key(&key, route, demand, source);
    const struct pace *pace = pace_get(relay, buf_text(&key));
    buf_finish(&key);
    return wait_ms(relay, pace, route->rule, source, limit);
}

static bool is_named(const struct config_source *source, struct slice names)
{
    while (names.size)
        if (slice_equals(slice_cut(&names, ','), slice_of(source->name)))
            return true;
    return false;
}

/* 0: not for this message. A folder's own sources come before all; where the config has none of them any more, the sender decides. */
static int fit_of(const struct config_source *source, const struct item *item, struct slice domain)
{
    enum { FIT_NAMED = 100 };
    return is_named(source, item->policy.sources) ? FIT_NAMED : config_source_fits(source, domain);
}

/* Those that fit best take turns; one that may send now goes before one that has to wait. */
const struct config_source *site_choose_source(struct relay *relay, const struct route *route, const struct item *item)
{
    const struct config *config = relay->config;
    const struct config_source *best = NULL;
    int64_t best_ms = INT64_MAX;
    if (config->source_count == 0)
        return NULL;
    struct slice domain = sender_domain(item);
    size_t turn = relay->source_turn++;
    int fit = 1;
    for (size_t i = 0; i < config->source_count; i++)
        if (fit_of(&config->sources[i], item, domain) > fit)
            fit = fit_of(&config->sources[i], item, domain);
    for (size_t i = 0; i < config->source_count && best_ms > 0; i++) {
        const struct config_source *source = &config->sources[(turn + i) % config->source_count];
        if (fit_of(source, item, domain) < fit)
            continue;
        int64_t source_ms = wait_from(relay, route, source, TLS_DEMAND_NONE);
        if (source_ms < best_ms) {
            best = source;
            best_ms = source_ms;
        }
    }
    return best;
}

/* ---- what a site takes ---- */

size_t site_connections_max(const struct site *site)
{
    size_t most = cluster_share(site->relay, configured_max(site->relay, site->rule, site->source));
    if (site->pace->connections && site->pace->connections < most)
        most = site->pace->connections;
    if (!site->source || !site->source->connections_max)
        return most;
    size_t all = cluster_share(site->relay, (size_t)site->source->connections_max);
    size_t used = source_state(site->relay, site->source)->connections;
    size_t left = all > used ? all - used + site->connection_count : site->connection_count;
    return left < most ? left : most;
}

int64_t site_wait_ms(const struct site *site, char ret_limit[64])
{
    return wait_ms(site->relay, site->pace, site->rule, site->source, ret_limit);
}

void site_take_one(struct site *site)
{
    int64_t now_ms = clock_wall_ms();
    struct pace_limits limits = limits_of(site->relay, site->rule, site->source);
    pace_take(site->pace, &limits, now_ms);
    if (site->source) {
        struct pace_limits all = source_limits(site->relay, site->source);
        pace_take(source_state(site->relay, site->source)->pace, &all, now_ms);
    }
    if (limits.rates->count || limits.warmup || (site->source && site->source->rates.count))
        paces_changed(site->relay);
}

bool site_is_crowded(const struct site *site)
{
    char limit[64];
    return (site->pace->connections && site->connection_count > site->pace->connections)
           || (site->relay->parts.node && site->connection_count > site_connections_max(site))
           || (site->pace->rests_until_ms && site_wait_ms(site, limit) > site->relay->config->delivery.idle_ms);
}

/* ---- what it says ---- */

static void tell(struct site *site, const struct attempt *attempt, const char *change)
{
    struct event event = EVENT(EVENT_PACED);
    char note[300];
    (void)snprintf(note, sizeof note, "%s%s%s", change, site->source ? ", from " : "", site->source ? site->source->name : "");
    event.host = attempt->host;
    event.address = attempt->address;
    event.note = slice_of(note);
    event.code = attempt->code;
    if (attempt->code >= 400) {
        event.class = attempt->class ? slice_of(attempt->class->name) : SLICE_NONE;
        event.status = attempt->status;
        event.reply = attempt->text;
    } else {
        event.reason = SLICE("mail was taken, and nobody complained for delivery.tune_interval");
    }
    event_put(site->relay->parts.log, &event);
    paces_changed(site->relay);
}

void site_complained(struct site *site, const struct attempt *attempt)
{
    char change[128];
    if (!site->relay->config->delivery.is_tuned
        || !pace_complained(site->pace, site->connection_count, attempt->code >= 500, attempt->class->rest_ms, attempt->text,
                            clock_wall_ms(), change))
        return;
    site->window = 1; /* one probes; each success brings another, up to what was learnt */
    tell(site, attempt, change);
    site_touch(site);
}

void site_delivered(struct site *site, const struct attempt *attempt)
{
    char change[128];
    struct pace_limits limits = limits_of(site->relay, site->rule, site->source);
    if (pace_delivered(site->pace, &limits, clock_wall_ms(), change))
        tell(site, attempt, change);
}

void site_leave_ipv6(struct site *site, const struct attempt *attempt)
{
    bool is_new = site->pace->no_ipv6_until_ms < clock_wall_ms();
    site->pace->no_ipv6_until_ms = clock_wall_ms() + NO_IPV6_MS;
    if (is_new)
        tell(site, attempt, "IPv4 alone for a day");
    site_touch(site);
}
