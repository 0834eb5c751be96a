#include "cli/queue_place.h"
#include "cli/queue.h"
#include "os/clock.h"
#include "os/control.h"
#include "store/describe.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* "key: value", one a line; an object's keys are indented below its own. */
static void print_value(const char *key, const json_t *value, int depth)
{
    struct buf out = {0};
    buf_printf(&out, "%*s", 2 * depth, "");
    put_clean(&out, slice_of(key));
    buf_append_byte(&out, ':');
    if (!json_is_object(value)) {
        char *text =
            json_is_string(value) ? NULL : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        buf_append_byte(&out, ' ');
        put_clean(&out, slice_of(text ? text : json_string_value(value)));
        free(text);
    }
    buf_append_byte(&out, '\n');
    out_print(&out);
    buf_finish(&out);
    if (!json_is_object(value))
        return;
    json_t *object = (json_t *)(uintptr_t)value; /* as jansson's iterators want it */
    for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at))
        print_value(json_object_iter_key(at), json_object_iter_value(at), depth + 1);
}

/* The totals as {"messages": …}; NULL with an error. */
static json_t *queue_totals(const struct config *config, struct error *error)
{
    struct store *store;
    struct store_totals totals;
    int64_t now_ms = clock_wall_ms();
    struct queue_place place;
    json_t *nodes = NULL;
    if (!queue_place_find(config, &place, error) || !store_open_at(&place.store, STORE_READER, &store, error)) {
        queue_place_forget(&place);
        return NULL;
    }
    bool is_done = store_totals(store, now_ms, &totals, error) && describe_nodes(store, &nodes, error);
    store_close(&store);
    queue_place_forget(&place);
    if (!is_done)
        return NULL;
    struct buf age = {0};
    put_age(&age, totals.messages ? now_ms - totals.oldest_ms : 0);
    json_t *json =
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "messages", (json_int_t)totals.messages,
                  "recipients", (json_int_t)totals.recipients, "queued", (json_int_t)totals.queued,
                  "held", (json_int_t)totals.held, "due", (json_int_t)totals.due, "octets",
                  (json_int_t)totals.bytes, "oldest", buf_text(&age));
    buf_finish(&age);
    if (nodes)
        json_object_set_new(json, "nodes", nodes);
    return json;
}

static void print_status(json_t *status, bool is_json)
{
    if (is_json) {
        json_dumpf(status, stdout, JSON_COMPACT);
        printf("\n");
        return;
    }
    for (void *at = json_object_iter(status); at; at = json_object_iter_next(status, at))
        print_value(json_object_iter_key(at), json_object_iter_value(at), 0);
}

/* {"running": …, what the relay says…, "queue": {…}} */
static int status_tell(const struct config *config, bool is_json)
{
    char control_path[4096];
    struct error error;
    json_t *answer = NULL, *question = json_pack("{s:s}", "do", "status"), *status = json_object();
    (void)snprintf(control_path, sizeof control_path, "%s/control.sock", config->root);
    enum control_result result = control_request(control_path, question, &answer, &error);
    json_decref(question);
    json_object_set_new(status, "running", json_boolean(result == CONTROL_ANSWERED));
    if (result == CONTROL_ANSWERED) {
        json_object_del(answer, "ok");
        json_object_update(status, answer);
    } else {
        (void)command_fail("status", 0, "%s",
                           result == CONTROL_NOT_RUNNING ? "the relay is not running" : error.text);
    }
    json_t *totals = queue_totals(config, &error);
    if (totals)
        json_object_set_new(status, "queue", totals);
    else
        (void)command_fail("status", 0, "%s", error.text);
    print_status(status, is_json);
    json_decref(answer);
    json_decref(status);
    return result == CONTROL_ANSWERED ? EX_OK : EX_UNAVAILABLE;
}

/* A probe: says nothing, its exit code does. Live: the relay answers. Ready: and its queue can be read. */
static int status_probe(const struct config *config, bool is_ready)
{
    char control_path[4096];
    struct error error;
    json_t *answer = NULL, *question = json_pack("{s:s}", "do", "status");
    (void)snprintf(control_path, sizeof control_path, "%s/control.sock", config->root);
    bool is_fine = control_request(control_path, question, &answer, &error) == CONTROL_ANSWERED;
    json_decref(question);
    json_decref(answer);
    json_t *totals = is_fine && is_ready ? queue_totals(config, &error) : NULL;
    is_fine = is_fine && (!is_ready || totals);
    json_decref(totals);
    return is_fine ? EX_OK : EX_UNAVAILABLE;
}

int command_status(int argc, char **argv)
{
    struct command_options options;
    command_parse(&argc, argv, &options);
    bool is_ready = argc == 2 && strcmp(argv[1], "--ready") == 0, is_live = argc == 2 && strcmp(argv[1], "--live") == 0;
    if (argc > 1 && !is_ready && !is_live)
        return command_fail("status", EX_USAGE, "%s: --ready or --live was expected, or nothing", argv[1]);
    struct config *config = command_config(&options);
    int code = is_ready || is_live ? status_probe(config, is_ready) : status_tell(config, options.is_json);
    config_destroy(&config);
    return code;
}
