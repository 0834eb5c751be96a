/* What the listener asks and tells through the link (os/link.h). It faces the network: of its word only what it is for is
 * believed. Whether a client may ask for a queue it has decided itself (smtpd/policy.h); that there is one is looked up here.
 *
 *   TOLD_MARK and events (outcome/told.h), for the log
 *   {"ask": "etrn", "n": N, "node": "x.example" | "@x.example" | "#queue", "by": "…"}     {"n": N, "count": messages} */
#include "outcome/told.h"
#include "relay/relay_private.h"

#include <stdio.h>
#include <stdlib.h>

/* Everything of the queue for that domain is due: store_filter's globs. False: the reason is told. */
static bool start_domain(struct relay *relay, const char *domain, const char *by, json_int_t *count)
{
    struct error error;
    json_t *answer = json_object();
    json_t *request = json_pack("{s:s, s:s, s:{s:s, s:s}}", "verb", "retry", "by", by, "filter", "state", "queued", "domain",
                                domain);
    bool is_done = request && relay_change(relay, request, answer, &error);
    if (is_done) {
        *count += json_integer_value(json_object_get(answer, "count"));
    } else {
        struct event event = EVENT(EVENT_ERROR);
        event.reason = request ? slice_of(error.text) : SLICE("ETRN: a node that is no text");
        event_put(relay->parts.log, &event);
    }
    json_decref(request);
    json_decref(answer);
    return is_done;
}

/* RFC 1985 5: "#name", "@domain" with what is below it, "domain". False: there is no such queue, or it failed. */
static bool start_node(struct relay *relay, const char *node, const char *by, json_int_t *count)
{
    const struct config *config = relay->config;
    char below[260];
    bool is_done = false;
    if (node[0] == '#') {
        for (size_t i = 0; i < config->route_count; i++) {
            const struct config_route *rule = &config->routes[i];
            if (rule->is_etrn && rule->etrn_queue && slice_equals_nocase(slice_of(rule->etrn_queue), slice_of(node + 1)))
                is_done = start_domain(relay, rule->pattern, by, count) || is_done;
        }
        return is_done;
    }
    const char *domain = node + (node[0] == '@');
    const struct config_route *rule = config_route_find(config, slice_of(domain));
    if (!rule || !rule->is_etrn)
        return false;
    is_done = start_domain(relay, domain, by, count);
    (void)snprintf(below, sizeof below, "*.%s", domain);
    return is_done && (node[0] != '@' || start_domain(relay, below, by, count));
}

static void on_etrn(struct relay *relay, const json_t *asked)
{
    const char *node = json_string_value(json_object_get(asked, "node"));
    const char *by = json_string_value(json_object_get(asked, "by"));
    json_int_t count = 0;
    bool is_done = node && by && start_node(relay, node, by, &count);
    json_t *answer = json_pack("{s:O?, s:I}", "n", json_object_get(asked, "n"), "count", is_done ? count : (json_int_t)-1);
    char *text = json_dumps(answer, JSON_COMPACT);
    (void)!link_send(relay->link, slice_of(text)); /* without room the listener gives up waiting */
    free(text);
    json_decref(answer);
}

static void on_told(struct relay *relay, struct slice rest)
{
    struct event event;
    while (told_take(&rest, &event))
        event_put(relay->parts.log, &event);
    event_flush(relay->parts.log);
}

static void on_packet(void *arg, struct slice packet)
{
    if (packet.data[0] == TOLD_MARK) {
        on_told(arg, slice_from(packet, 1));
        return;
    }
    json_t *value = json_loadb(packet.data, packet.size, 0, NULL);
    const char *ask = json_string_value(json_object_get(value, "ask"));
    if (ask && strcmp(ask, "etrn") == 0)
        on_etrn(arg, value);
    json_decref(value);
}

bool heard_start(struct relay *relay, struct error *error)
{
    relay->link = link_attach(relay->parts.link, LINK_RELAY, relay->parts.base, on_packet, relay, error);
    return relay->link != NULL;
}
