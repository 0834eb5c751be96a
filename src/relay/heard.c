/* What the listener asks and tells through the link (os/link.h). It faces the network: of its word only what it is for is
 * believed. Whether a client may ask for a queue it has decided itself (smtpd/policy.h); that there is one is looked up here.
 *
 *   TOLD_MARK and events (outcome/told.h), for the log
 *   {"ask": "etrn", "n": N, "node": "x.example" | "@x.example" | "#queue", "by": "…"}     {"n": N, "count": messages} */
#include "outcome/told.h"
#include "relay/relay_private.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

/* An ETRN under way: each domain is a change of its own. */
struct etrn {
    struct relay *relay;
    json_t *number;              /* the question's */
    size_t waiting;              /* changes not yet committed, and one while more are made */
    json_int_t count;
    bool is_done;                /* one was committed */
};

static void etrn_release(struct etrn *etrn)
{
    if (--etrn->waiting)
        return;
    json_t *answer = json_pack("{s:O?, s:I}", "n", etrn->number, "count", etrn->is_done ? etrn->count : (json_int_t)-1);
    char *text = json_dumps(answer, JSON_COMPACT);
    (void)!link_send(etrn->relay->link, slice_of(text)); /* without room the listener gives up waiting */
    free(text);
    json_decref(answer);
    json_decref(etrn->number);
    free(etrn);
}

static void tell_failed(struct relay *relay, const char *reason)
{
    struct event event = EVENT(EVENT_ERROR);
    event.reason = slice_of(reason);
    event_put(relay->parts.log, &event);
}

static void domain_started(void *arg, bool is_done, size_t count, const struct error *error)
{
    struct etrn *etrn = arg;
    if (is_done)
        etrn->count += (json_int_t)count;
    else
        tell_failed(etrn->relay, error->text);
    etrn->is_done = etrn->is_done || is_done;
    etrn_release(etrn);
}

/* Everything of the queue for that domain is due: store_filter's globs. */
static void start_domain(struct etrn *etrn, const char *domain, const char *by)
{
    struct error error;
    json_t *request = json_pack("{s:s, s:s, s:{s:s, s:s}}", "verb", "retry", "by", by, "filter", "state", "queued", "domain",
                                domain);
    (void)error_set(&error, "ETRN: a node that is no text");
    etrn->waiting++;
    if (!request || !relay_change(etrn->relay, request, domain_started, etrn, &error))
        domain_started(etrn, false, 0, &error);
    json_decref(request);
}

/* RFC 1985 5: "#name", "@domain" with what is below it, "domain"; nothing is started where there is no such queue. */
static void start_node(struct etrn *etrn, const char *node, const char *by)
{
    const struct config *config = etrn->relay->config;
    char below[260];
    if (node[0] == '#') {
        for (size_t i = 0; i < config->route_count; i++) {
            const struct config_route *rule = &config->routes[i];
            if (rule->is_etrn && rule->etrn_queue && slice_equals_nocase(slice_of(rule->etrn_queue), slice_of(node + 1)))
                start_domain(etrn, rule->pattern, by);
        }
        return;
    }
    const char *domain = node + (node[0] == '@');
    const struct config_route *rule = config_route_find(config, slice_of(domain));
    if (!rule || !rule->is_etrn)
        return;
    start_domain(etrn, domain, by);
    (void)snprintf(below, sizeof below, "*.%s", domain);
    if (node[0] == '@')
        start_domain(etrn, below, by);
}

static void on_etrn(struct relay *relay, const json_t *asked)
{
    const char *node = json_string_value(json_object_get(asked, "node"));
    const char *by = json_string_value(json_object_get(asked, "by"));
    struct etrn *etrn = mem_alloc(sizeof *etrn);
    *etrn = (struct etrn){.relay = relay, .number = json_incref(json_object_get(asked, "n")), .waiting = 1};
    if (node && by)
        start_node(etrn, node, by);
    etrn_release(etrn);
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
