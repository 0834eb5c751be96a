/* mailroot route ADDRESS: what would be done with it, sending nothing. */
#include "cli/command.h"
#include "cli/queue.h"
#include "message/address.h"
#include "os/clock.h"
#include "os/control.h"
#include "os/loop.h"
#include "route/route.h"

#include <event2/event.h>
#include <jansson.h>
#include <stdio.h>

struct answer { struct event_base *base; struct route *route; };

static void on_route(void *arg, struct route *route)
{
    struct answer *answer = arg;
    answer->route = route_hold(route);
    event_base_loopbreak(answer->base);
}

static json_t *describe_tls(const struct config *config, const struct route *route, const struct route_host *host)
{
    struct tls_policy policy;
    route_tls(route, host, config, TLS_DEMAND_NONE, &policy);
    json_t *names = json_array(), *tlsa = json_array();
    for (size_t i = 0; i < policy.name_count; i++)
        json_array_append_new(names, json_string(policy.names[i]));
    for (size_t i = 0; i < policy.tlsa_count; i++)
        json_array_append_new(tlsa, json_sprintf("%d %d %d", policy.tlsa[i].usage, policy.tlsa[i].selector,
                                                 policy.tlsa[i].matching));
    return json_pack("{s:s, s:s, s:b, s:o, s:o, s:s}", "level", tls_level_name(&policy), "source",
                     tls_source_name(policy.source), "barred", policy.is_barred, "names", names, "tlsa", tlsa, "why",
                     policy.why);
}

static json_t *describe_host(const struct config *config, const struct route *route, const struct route_host *host)
{
    json_t *addresses = json_array();
    char text[64];
    for (size_t i = 0; i < host->address_count; i++) {
        route_address_text(&host->addresses[i], text, sizeof text);
        json_array_append_new(addresses, json_string(text));
    }
    json_t *json = json_pack("{s:s, s:i, s:o, s:b}", "host", host->name, "preference", (int)host->preference,
                             "addresses", addresses, "secure", host->is_secure);
    if (config_route_has_login(route->rule))
        json_object_set_new(json, "auth", json_boolean(host->is_smart));
    if (host->is_implicit)
        json_object_set_new(json, "implicit_tls", json_true());
    if (route->kind == ROUTE_HOSTS)
        json_object_set_new(json, "tls", describe_tls(config, route, host));
    if (host->problem)
        json_object_set_new(json, "problem", json_string(host->problem));
    return json;
}

/* Where its files go; NULL for what goes over a connection. */
static const char *folder_of(const struct route *route)
{
    if (route->kind != ROUTE_LOCAL)
        return NULL;
    return route->rule->deliver == CONFIG_DELIVER_DROP ? route->rule->drop_dir : route->rule->maildir;
}

/* Why the running relay has suspended the route's rule (a user that is refused); NULL: it has not, or there is none. */
static json_t *suspension_of(const struct config *config, const struct route *route)
{
    char path[4096];
    struct error error;
    json_t *answer = NULL, *question = json_pack("{s:s}", "do", "status"), *found = NULL;
    (void)snprintf(path, sizeof path, "%s/control.sock", config->root);
    if (config_route_has_login(route->rule) && control_request(path, question, &answer, &error) == CONTROL_ANSWERED)
        found = json_incref(json_object_get(json_object_get(answer, "suspended"), route->rule->pattern));
    json_decref(question);
    json_decref(answer);
    return found;
}

static json_t *describe_login(const struct config *config, const struct route *route)
{
    const struct config_route *rule = route->rule;
    json_t *mechanisms = json_array(), *suspension = suspension_of(config, route);
    for (size_t i = 0; i < rule->auth_mechanisms.count; i++)
        json_array_append_new(mechanisms, json_string(rule->auth_mechanisms.items[i]));
    json_t *login = json_pack("{s:s?, s:o}", "user", rule->user, "mechanisms", mechanisms);
    if (suspension)
        json_object_set_new(login, "suspended", suspension);
    return login;
}

static void print_login(const struct config *config, const struct route *route)
{
    json_t *suspension = suspension_of(config, route);
    printf("  AUTH     %s%s", route->rule->user ? "as " : "by certificate", route->rule->user ? route->rule->user : "");
    for (size_t i = 0; i < route->rule->auth_mechanisms.count; i++)
        printf("%s %s", i ? "," : ", by", route->rule->auth_mechanisms.items[i]);
    printf("\n");
    if (suspension) {
        struct buf out = {0};
        buf_append_text(&out, "  SUSPENDED since ");
        put_clean(&out, slice_of(json_string_value(json_object_get(suspension, "since"))));
        buf_append_text(&out, ": ");
        put_clean(&out, slice_of(json_string_value(json_object_get(suspension, "reason"))));
        buf_append_byte(&out, '\n');
        out_print(&out);
        buf_finish(&out);
    }
    json_decref(suspension);
}

/* How long the answers hold: the shortest TTL among them (route.h N8). */
static int64_t ttl_of(const struct route *route)
{
    int64_t left_ms = route->expires_ms - clock_mono_ms();
    return left_ms > 0 ? (left_ms + 999) / 1000 : 0;
}

static json_t *describe(const struct config *config, const char *address, const struct route *route)
{
    static const char *const kinds[] = {"deliver", "wait", "fail", "deliver"};
    json_t *hosts = json_array();
    for (size_t i = 0; i < route->host_count; i++)
        json_array_append_new(hosts, describe_host(config, route, &route->hosts[i]));
    json_t *json = json_pack("{s:s, s:s, s:s, s:s, s:b, s:o}", "address", address, "domain", route->domain, "action",
                             kinds[route->kind], "source", route->source, "secure", route->is_secure, "hosts", hosts);
    const char *folder = folder_of(route);
    if (folder)
        json_object_set_new(json, "folder", json_string(folder));
    if (route->kind == ROUTE_DEFERRED || route->kind == ROUTE_FAILED) {
        json_object_set_new(json, "code", json_integer(route->code));
        json_object_set_new(json, "status", json_string(route->status));
        json_object_set_new(json, "reason", json_string(route->reason));
    }
    if (route->sts)
        json_object_set_new(json, "mta_sts", json_pack("{s:s, s:s, s:I}", "mode", sts_mode_name(route->sts->mode), "id",
                                                       route->sts->id, "max_age", (json_int_t)route->sts->max_age_s));
    if (route->sts_problem)
        json_object_set_new(json, "mta_sts_problem", json_string(route->sts_problem));
    json_object_set_new(json, "ttl_s", json_integer((json_int_t)ttl_of(route)));
    if (route->rule)
        json_object_set_new(json, "rule", json_string(route->rule->pattern));
    if (config_route_has_login(route->rule))
        json_object_set_new(json, "auth", describe_login(config, route));
    return json;
}

static void print_words(const struct config *config, const char *address, const struct route *route)
{
    char text[64];
    struct tls_policy policy;
    printf("%s\n  domain   %s%s\n", address, route->domain, route->is_secure ? " (DNSSEC)" : "");
    if (folder_of(route)) {
        printf("  source   %s, rule %s\n  folder   %s\n", route->source, route->rule->pattern, folder_of(route));
        return;
    }
    if (route->kind != ROUTE_HOSTS) {
        printf("  %s   %d %s %s\n", route->kind == ROUTE_FAILED ? "fails" : "waits", route->code, route->status,
               route->reason);
        return;
    }
    printf("  source   %s%s%s\n", route->source, route->rule ? ", rule " : "", route->rule ? route->rule->pattern : "");
    printf("  answers  %s, kept for %lld s\n", route->is_secure ? "validated by DNSSEC" : "not validated by DNSSEC", (long long)ttl_of(route));
    if (route->host_count > 1)
        printf("  order    %s\n", strcmp(route->source, "mx") == 0 ? "the lowest preference first, equals in turn" : "as the config has it");
    if (config_route_has_login(route->rule))
        print_login(config, route);
    if (route->sts)
        printf("  MTA-STS  %s, id %s\n", sts_mode_name(route->sts->mode), route->sts->id);
    if (route->sts_problem)
        printf("  MTA-STS  %s\n", route->sts_problem);
    for (size_t i = 0; i < route->host_count; i++) {
        const struct route_host *host = &route->hosts[i];
        printf("  %5u    %s", host->preference, host->name);
        for (size_t k = 0; k < host->address_count; k++) {
            route_address_text(&host->addresses[k], text, sizeof text);
            printf(" %s", text);
        }
        printf("%s%s%s\n", host->is_secure ? " (DNSSEC)" : "", host->problem ? ": " : "", host->problem ? host->problem : "");
        if (host->problem)
            continue;
        route_tls(route, host, config, TLS_DEMAND_NONE, &policy);
        printf("           TLS %s (%s)%s: %s\n", policy.is_barred ? "barred" : tls_level_name(&policy), tls_source_name(policy.source),
               host->is_implicit ? " from the first octet" : "", policy.why);
    }
}

int route_explain(const struct config *config, const char *address, struct slice domain, bool is_json)
{
    static const int codes[] = {[ROUTE_HOSTS] = EX_OK, [ROUTE_DEFERRED] = EX_TEMPFAIL, [ROUTE_FAILED] = EX_NOHOST,
                                [ROUTE_LOCAL] = EX_OK};
    struct answer answer = {0};
    struct error error;
    answer.base = loop_create(&error);
    struct router *router = answer.base ? router_create(answer.base, config, NULL, &error) : NULL;
    if (!router)
        return command_fail("route", EX_OSERR, "%s", error.text);
    route_lookup(router, domain, SLICE_NONE, on_route, &answer);
    if (!answer.route)
        (void)event_base_dispatch(answer.base);
    CHECK(answer.route); /* every look-up ends, at the latest by its timer */
    int code = codes[answer.route->kind];
    if (is_json) {
        json_t *json = describe(config, address, answer.route);
        json_dumpf(json, stdout, JSON_COMPACT);
        printf("\n");
        json_decref(json);
    } else {
        print_words(config, address, answer.route);
    }
    route_release(&answer.route);
    router_destroy(&router);
    event_base_free(answer.base);
    return code;
}

int command_route(int argc, char **argv)
{
    struct command_options options;
    struct arena arena = {0};
    struct address address;
    struct error error;
    command_parse(&argc, argv, &options);
    if (argc != 2)
        return command_fail("route", EX_USAGE, "one address or domain was expected");
    struct config *config = command_config(&options);
    struct slice domain = slice_of(argv[1]);
    int code = EX_DATAERR;
    if (strchr(argv[1], '@') ? address_parse(&arena, domain, &address, &error)
                             : address_domain(&arena, domain, &domain, &error))
        code = route_explain(config, argv[1], strchr(argv[1], '@') ? address.domain : domain, options.is_json);
    else
        (void)command_fail("route", 0, "%s: %s", argv[1], error.text);
    arena_finish(&arena);
    config_destroy(&config);
    return code;
}
