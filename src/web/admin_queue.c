#include "web/admin_private.h"

#include "base/json.h"
#include "os/clock.h"
#include "os/control.h"
#include "outcome/history.h"
#include "store/filter.h"

#include <stdlib.h>
#include <unistd.h>

enum { KEPT_MS = 1000, KEPT_TIMES = 10, EVENTS_MAX = 500, LISTED = 100 };

/* NULL: answered with 502 or 503. `request` is taken over. */
static json_t *ask_relay(struct admin *admin, json_t *request, struct answer *answer)
{
    json_t *reply = NULL;
    struct error error;
    enum control_result result = request ? control_request(admin->control_path, request, &reply, &error) : CONTROL_FAILED;
    json_decref(request);
    if (result == CONTROL_ANSWERED) {
        json_object_del(reply, "ok");
        return reply;
    }
    json_decref(reply);
    if (result == CONTROL_NOT_RUNNING)
        answer_json_error(answer, 503, "the relay does not answer");
    else
        answer_json_error(answer, 422, error.text);
    return NULL;
}

/* What is asked often is asked of the relay at most once a second, and the rarer the longer its answer takes. */
static json_t *ask_kept(struct admin *admin, struct kept_answer *kept, const char *what, struct answer *answer)
{
    int64_t start_ms = clock_mono_ms();
    json_t *value = NULL;
    pthread_mutex_lock(&admin->mutex);
    if (kept->value && start_ms < kept->until_ms)
        value = json_deep_copy(kept->value);
    pthread_mutex_unlock(&admin->mutex);
    if (value)
        return value;
    value = ask_relay(admin, json_pack("{s:s}", "do", what), answer);
    if (!value)
        return NULL;
    int64_t now_ms = clock_mono_ms();
    pthread_mutex_lock(&admin->mutex);
    json_decref(kept->value);
    kept->value = json_deep_copy(value);
    kept->until_ms = now_ms + KEPT_MS + KEPT_TIMES * (now_ms - start_ms);
    pthread_mutex_unlock(&admin->mutex);
    return value;
}

static bool merge_text(json_t *into, const char *key, struct buf *text)
{
    json_t *value = json_loadb(buf_text(text), text->size, 0, NULL);
    buf_finish(text);
    return value && json_object_set_new(into, key, value) == 0;
}

void admin_status(struct admin *admin, struct request *request, struct slice rest, struct answer *answer)
{
    struct buf rates = {0};
    (void)request;
    (void)rest;
    json_t *status = ask_kept(admin, &admin->status, "status", answer);
    if (!status)
        return;
    json_open(&rates, '{');
    watch_put_rates(admin->watch, clock_wall_ms(), &rates);
    json_close(&rates, '}');
    (void)merge_text(status, "last_minutes", &rates);
    json_object_set_new(status, "hostname", json_string(admin->config->hostname));
    json_object_set_new(status, "now_ms", json_integer((json_int_t)clock_wall_ms()));
    admin_put_json(answer, 200, status);
}

void admin_destinations(struct admin *admin, struct request *request, struct slice rest, struct answer *answer)
{
    (void)request;
    (void)rest;
    json_t *list = ask_kept(admin, &admin->destinations, "destinations", answer);
    if (list)
        admin_put_json(answer, 200, list);
}

void admin_graph(struct admin *admin, struct request *request, struct slice rest, struct answer *answer)
{
    (void)rest;
    struct slice span = request_argument(request, "span");
    answer->status = 200;
    answer->type = "application/json";
    if (!watch_put_graph(admin->watch, slice_is_absent(span) ? SLICE("hour") : span, clock_wall_ms(), &answer->body))
        answer_json_error(answer, 400, "span: hour, day or month was expected");
}

/* ---- the queue ---- */

static json_t *filter_of_query(const struct request *request, json_t *filter)
{
    static const char *const texts[] = {"sender", "recipient", "domain", "pickup", "message_id", "state", "after"};
    uint64_t limit = LISTED;
    struct slice given = request_argument(request, "limit");
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct slice text = request_argument(request, texts[i]);
        if (text.size)
            json_object_set_new(filter, texts[i], json_stringn(text.data, text.size));
    }
    struct slice id = request_argument(request, "id");
    if (id.size)
        json_object_set_new(filter, "ids", json_pack("[s%]", id.data, id.size));
    if (!slice_is_absent(given) && !slice_to_u64(given, &limit))
        limit = 0; /* which no filter may say */
    json_object_set_new(filter, "limit", json_integer((json_int_t)limit));
    return filter;
}

void admin_search(struct admin *admin, struct request *request, struct slice rest, struct answer *answer)
{
    (void)rest;
    json_t *filter = filter_of_query(request, json_object());
    json_t *found = ask_relay(admin, json_pack("{s:s, s:o}", "do", "list", "filter", filter), answer);
    if (found)
        admin_put_json(answer, 200, found);
}

static bool names_something(const json_t *filter)
{
    static const char *const narrowing[] = {"ids", "sender", "recipient", "domain", "pickup", "message_id", "older_ms",
                                            "younger_ms", "larger", "state"};
    for (size_t i = 0; i < COUNT_OF(narrowing); i++)
        if (json_object_get(filter, narrowing[i]))
            return true;
    return false;
}

/* {"verb": …, "filter": {…} | "all": true, "route": …} */
void admin_change(struct admin *admin, struct request *request, struct slice rest, struct answer *answer)
{
    (void)rest;
    static const struct admin_field known[] = {
        {"verb", ADMIN_TEXT}, {"filter", ADMIN_OBJECT}, {"all", ADMIN_BOOL}, {"route", ADMIN_TEXT}};
    struct error error;
    json_t *body = admin_body(request, answer);
    if (!body)
        return;
    json_t *filter = json_object_get(body, "filter");
    json_t *given = filter ? json_deep_copy(filter) : json_object();
    if (!admin_check_fields(body, known, COUNT_OF(known), &error)) {
        answer_json_error(answer, 422, error.text);
        json_decref(given);
    } else if (!names_something(given) && !json_is_true(json_object_get(body, "all"))) {
        answer_json_error(answer, 422, "a filter was expected that names something, or \"all\": true");
        json_decref(given);
    } else {
        json_t *asked = json_pack("{s:s, s:o}", "do", "queue", "filter", given);
        json_object_set(asked, "verb", json_object_get(body, "verb"));
        if (json_object_get(body, "route"))
            json_object_set(asked, "route", json_object_get(body, "route"));
        json_t *done = ask_relay(admin, asked, answer);
        if (done)
            admin_put_json(answer, 200, done);
    }
    json_decref(body);
}

/* ---- what happened ---- */

struct tracing { struct slice words[2]; json_t *events; };

static bool is_about(const json_t *event, struct slice word)
{
    static const char *const keys[] = {"id", "about", "pickup", "message_id", "to"};
    for (size_t i = 0; word.size && i < COUNT_OF(keys); i++)
        if (slice_equals_nocase(slice_of(history_text(event, keys[i])), word))
            return true;
    return false;
}

static bool trace_one(void *arg, const json_t *event)
{
    struct tracing *tracing = arg;
    if (is_about(event, tracing->words[0]) || is_about(event, tracing->words[1]))
        json_array_append_new(tracing->events, json_deep_copy(event));
    return json_array_size(tracing->events) < EVENTS_MAX;
}

static json_t *trace(struct admin *admin, struct slice word)
{
    struct error error;
    struct tracing tracing = {{word}, json_array()};
    if (word.size)
        (void)!history_search(admin->config, word, trace_one, &tracing, &error); /* no log: no events */
    return tracing.events;
}

void admin_trace(struct admin *admin, struct request *request, struct slice rest, struct answer *answer)
{
    (void)rest;
    struct slice word = slice_trim(request_argument(request, "q"));
    if (word.size == 0) {
        answer_json_error(answer, 400, "q: a pickup name, Message-ID, queue id or recipient was expected");
        return;
    }
    json_t *events = trace(admin, word);
    const char *id = history_text(json_array_get(events, 0), "id");
    if (*id && !slice_equals(slice_of(id), word)) { /* what was found names a message: its whole story */
        json_t *whole = trace(admin, slice_of(id));
        if (json_array_size(whole) > json_array_size(events)) {
            json_decref(events);
            events = whole;
        } else {
            json_decref(whole);
        }
    }
    admin_put_json(answer, 200, json_pack("{s:o}", "events", events));
}

/* The message if it is still queued, and all its events. */
void admin_story(struct admin *admin, struct request *request, struct slice rest, struct answer *answer)
{
    uint64_t id;
    char text[17];
    (void)request;
    if (!store_id_parse(rest, &id)) {
        answer_json_error(answer, 404, "a queue id of 16 hex digits was expected");
        return;
    }
    store_id_text(id, text);
    struct answer unused = {0};
    json_t *found = ask_relay(admin, json_pack("{s:s, s:s}", "do", "show", "id", text), &unused);
    json_t *events = trace(admin, slice_of(text));
    if (!found && json_array_size(events) == 0) {
        json_decref(events);
        answer_json_error(answer, 404, "nothing is known of that message");
    } else {
        json_t *story = found ? found : json_object();
        json_object_set_new(story, "events", events);
        admin_put_json(answer, 200, story);
    }
    answer_finish(&unused);
}

void admin_domains(struct admin *admin, struct request *request, struct slice rest, struct answer *answer)
{
    static const char *const tls_names[] = {[CONFIG_TLS_NEVER] = "never", [CONFIG_TLS_MAY] = "may", [CONFIG_TLS_MUST] = "must"};
    const struct config *config = admin->config;
    json_t *list = json_array();
    (void)request;
    (void)rest;
    for (size_t i = 0; i < config->route_count; i++) {
        const struct config_route *route = &config->routes[i];
        json_t *hosts = json_array();
        for (size_t k = 0; k < route->hosts.count; k++)
            json_array_append_new(hosts, json_string(route->hosts.items[k]));
        json_array_append_new(list, json_pack("{s:s, s:o, s:s, s:i}", "domain", route->pattern, "hosts", hosts, "tls",
                                              tls_names[route->tls < 0 ? config->delivery.tls : route->tls], "connections",
                                              route->connections_max ? route->connections_max
                                                                     : config->delivery.connections_per_site));
    }
    admin_put_json(answer, 200, json_pack("{s:o, s:{s:s, s:i}}", "routes", list, "others", "tls",
                                          tls_names[config->delivery.tls], "connections", config->delivery.connections_per_site));
}

/* ---- for machines ---- */

void admin_ready(struct admin *admin, struct request *request, struct slice rest, struct answer *answer)
{
    (void)request;
    (void)rest;
    json_t *status = ask_kept(admin, &admin->status, "status", answer);
    if (!status)
        return;
    json_decref(status);
    if (access(admin->config->pickup.dir, W_OK | X_OK) != 0)
        answer_json_error(answer, 503, "nothing can be put into Pickup");
    else
        admin_put_json(answer, 200, json_pack("{s:b}", "ready", 1));
}

void admin_metrics(struct admin *admin, struct request *request, struct slice rest, struct answer *answer)
{
    static const struct { const char *key, *name, *help; } gauges[] = {
        {"messages", "mailroot_queue_messages", "Messages in the queue"},
        {"recipients", "mailroot_queue_recipients", "Recipients in the queue"},
        {"held", "mailroot_queue_held", "Recipients on hold"},
        {"due", "mailroot_queue_due", "Recipients that are due"},
        {"octets", "mailroot_queue_octets", "Octets in the queue"},
        {"active", "mailroot_active_messages", "Messages in memory"},
        {"sites", "mailroot_sites", "Destinations in memory"},
        {"connections", "mailroot_connections", "Open SMTP connections"},
    };
    (void)request;
    (void)rest;
    json_t *status = ask_kept(admin, &admin->status, "status", answer);
    buf_clear(&answer->body);
    buf_printf(&answer->body, "# HELP mailroot_up The relay answers\n# TYPE mailroot_up gauge\nmailroot_up %d\n", status != NULL);
    for (size_t i = 0; status && i < COUNT_OF(gauges); i++)
        buf_printf(&answer->body, "# HELP %s %s\n# TYPE %s gauge\n%s %lld\n", gauges[i].name, gauges[i].help, gauges[i].name,
                   gauges[i].name, (long long)json_integer_value(json_object_get(status, gauges[i].key)));
    int64_t oldest_ms = json_integer_value(json_object_get(status, "oldest_ms"));
    if (status)
        buf_printf(&answer->body, "# HELP mailroot_queue_oldest_seconds Age of the oldest message in the queue\n"
                                  "# TYPE mailroot_queue_oldest_seconds gauge\nmailroot_queue_oldest_seconds %lld\n",
                   (long long)(oldest_ms ? (clock_wall_ms() - oldest_ms) / 1000 : 0));
    json_decref(status);
    watch_put_metrics(admin->watch, &answer->body);
    answer->status = 200;
    answer->type = "text/plain; version=0.0.4; charset=utf-8";
}
