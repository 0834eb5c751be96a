#include "cli/queue.h"

#include "base/json.h"
#include "base/mem.h"
#include "os/clock.h"
#include "os/control.h"
#include "os/file.h"
#include "outcome/event.h"

#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NOTHING_MATCHED = 1 };

typedef int queue_fn(struct queue_request *request);

static queue_fn queue_change, queue_repair;

static const struct {
    const char *name;
    queue_fn *run;
    bool wants_selection;
} verbs[] = {
    {"list", queue_list, false},     {"show", queue_show, true},
    {"hold", queue_change, true},    {"release", queue_change, true},
    {"retry", queue_change, true},   {"remove", queue_change, true},
    {"reroute", queue_change, true}, {"export", queue_export, true},
    {"repair", queue_repair, false}, {"move", queue_move, false},
};

static const struct option long_options[] = {
    {"sender", required_argument, NULL, 's'},     {"recipient", required_argument, NULL, 'r'},
    {"domain", required_argument, NULL, 'd'},     {"pickup", required_argument, NULL, 'p'},
    {"message-id", required_argument, NULL, 'm'}, {"older", required_argument, NULL, 'o'},
    {"younger", required_argument, NULL, 'y'},    {"larger", required_argument, NULL, 'l'},
    {"state", required_argument, NULL, 'S'},      {"not", no_argument, NULL, 'n'},
    {"all", no_argument, NULL, 'a'},              {"limit", required_argument, NULL, 'L'},
    {"to", required_argument, NULL, 't'},         {0},
};

int queue_open(const struct queue_request *request, struct store **ret_store)
{
    struct error error;
    if (store_open_at(&request->place.store, STORE_READER, ret_store, &error))
        return EX_OK;
    return command_fail("queue", EX_NOINPUT, "%s", error.text);
}

static bool age_option(const char *text, int64_t *ret_ms, struct error *error)
{
    return age_parse(text, ret_ms)
           || error_set(error, "%s is no age: write 90s, 2h, 1h30m or 7d", text);
}

static bool option_take(int letter, struct queue_request *request, struct error *error)
{
    struct store_filter *filter = &request->filter;
    uint64_t limit;
    switch (letter) {
    case 's':
        filter->sender = strcmp(optarg, "<>") == 0 ? SLICE("") : slice_of(optarg);
        return true;
    case 'r': filter->recipient = slice_of(optarg); return true;
    case 'd': filter->domain = slice_of(optarg); return true;
    case 'p': filter->pickup_name = slice_of(optarg); return true;
    case 'm': filter->message_id = slice_of(optarg); return true;
    case 'o': return age_option(optarg, &filter->older_than_ms, error);
    case 'y': return age_option(optarg, &filter->younger_than_ms, error);
    case 'l':
        return size_parse(optarg, &filter->larger_than)
               || error_set(error, "--larger: %s is no size: write 4096, 64KB or 10MB", optarg);
    case 'S':
        return state_parse(slice_of(optarg), &filter->state)
               || error_set(error, "--state: %s is not queued, held, delivered, bounced, expired "
                            "or removed", optarg);
    case 'n': filter->is_inverted = true; return true;
    case 'a': request->is_all = true; return true;
    case 't': request->to = optarg; return true;
    case 'L':
        if (!slice_to_u64(slice_of(optarg), &limit) || limit == 0 || limit > INT64_MAX)
            return error_set(error, "--limit: %s is no number above 0", optarg);
        filter->limit = (size_t)limit;
        return true;
    default:
        return error_set(error, "unknown option, or one without its value; --help lists them");
    }
}

static bool ids_read(struct queue_request *request, char **words, size_t count, struct error *error)
{
    if (count == 0)
        return true;
    uint64_t *ids = arena_alloc(&request->arena, count * sizeof *ids);
    for (size_t i = 0; i < count; i++)
        if (!store_id_parse(slice_of(words[i]), &ids[i]))
            return error_set(error, "%s is no queue id (16 hex digits, as `mailroot queue list` "
                             "shows them)", words[i]);
    if (count > FILTER_IDS_MAX)
        return error_set(error, "more than %d queue ids", FILTER_IDS_MAX);
    request->filter.ids = ids;
    request->filter.id_count = count;
    return true;
}

static bool request_read(int argc, char **argv, struct queue_request *request, struct error *error)
{
    int letter;
    opterr = 0;
    optind = 1;
    while ((letter = getopt_long(argc, argv, "", long_options, NULL)) != -1)
        if (!option_take(letter, request, error))
            return false;
    if (optind == argc)
        return error_set(error, "a verb is expected: list, show, hold, release, retry, remove, "
                                "reroute, export, repair, move");
    request->verb = argv[optind++];
    request->filter.now_ms = clock_wall_ms();
    return ids_read(request, argv + optind, (size_t)(argc - optind), error);
}

/* HOST, HOST:PORT, [ADDRESS]:PORT; what it means is found out when it is used. */
static bool is_route(const char *text)
{
    for (const char *c = text; *c; c++)
        if (*c <= 0x20 || *c >= 0x7f || *c == ',')
            return false;
    return strlen(text) <= 255 + 6;
}

static bool request_check(const struct queue_request *request, bool wants_selection,
                          struct error *error)
{
    bool is_set = filter_is_set(&request->filter);
    bool is_reroute = strcmp(request->verb, "reroute") == 0;
    if (wants_selection && !is_set && !request->is_all)
        return error_set(error, "%s: which messages? Give ids or a condition, or --all",
                         request->verb);
    if (is_set && request->is_all)
        return error_set(error, "--all and a condition exclude each other");
    if (is_reroute && !request->to)
        return error_set(error, "reroute: --to HOST[:PORT] is expected");
    bool is_move = strcmp(request->verb, "move") == 0;
    if (!is_reroute && !is_move && request->to)
        return error_set(error, "--to is for reroute and move");
    if (is_move && (is_set || request->is_all || request->filter.limit || request->filter.is_inverted))
        return error_set(error, "move: it takes the whole queue; no conditions are expected");
    if (is_reroute && request->to && !is_route(request->to))
        return error_set(error, "--to: %s is not HOST or HOST:PORT", request->to);
    return true;
}

static int print_count(const struct queue_request *request, uint64_t count)
{
    if (request->is_json)
        printf("{\"verb\":\"%s\",\"count\":%llu}\n", request->verb, (unsigned long long)count);
    else
        printf("%s: %llu message%s\n", request->verb, (unsigned long long)count,
               count == 1 ? "" : "s");
    return count ? EX_OK : NOTHING_MATCHED;
}

static enum control_result relay_ask(struct queue_request *request, uint64_t *ret_count,
                                     struct error *error)
{
    json_t *answer = NULL, *filter = filter_to_json(&request->filter, error);
    if (!filter)
        return CONTROL_FAILED;
    json_t *question =
        json_pack("{s:s, s:s, s:o}", "do", "queue", "verb", request->verb, "filter", filter);
    if (request->to)
        json_object_set_new(question, "route", json_string(request->to));
    enum control_result result = control_request(request->control_path, question, &answer, error);
    if (result == CONTROL_ANSWERED) {
        json_int_t count = json_integer_value(json_object_get(answer, "count"));
        *ret_count = count > 0 ? (uint64_t)count : 0;
    }
    json_decref(answer);
    json_decref(question);
    return result;
}

struct direct { /* a change made here */
    struct event_log *log;
    enum store_verb verb;
    uint64_t count;
};

/* The event is written before the commit of what it tells (event.h, V3). */
static bool record_change(void *arg, const struct store_message *m,
                          const struct store_recipient *recipients, size_t count)
{
    static const enum event_kind kinds[] = {
        [VERB_HOLD] = EVENT_HELD,        [VERB_RELEASE] = EVENT_RELEASED,
        [VERB_RETRY] = EVENT_RETRIED,    [VERB_REMOVE] = EVENT_REMOVED,
        [VERB_REROUTE] = EVENT_REROUTED,
    };
    struct direct *direct = arg;
    struct event event = EVENT(kinds[direct->verb]);
    (void)recipients;
    event.id = m->id;
    event.pickup = m->pickup_name;
    event.message_id = m->message_id;
    event.sender = m->sender;
    event.recipients = (int64_t)count;
    event.note = SLICE("by mailroot queue, without the relay");
    event_put(direct->log, &event);
    direct->count++;
    return true;
}

static bool change_commit(const struct queue_request *request, struct store *store,
                          struct direct *direct, struct error *error)
{
    struct slice route = request->to && *request->to ? slice_of(request->to) : SLICE_NONE;
    if (!store_begin(store, error))
        return false;
    if (!store_change(store, &request->filter, direct->verb, route, record_change, direct, error)) {
        store_rollback(store);
        return false;
    }
    event_flush(direct->log);
    return store_commit(store, error);
}

/* What is made here belongs to the relay's user, who needs it later: root becomes that user. */
static bool become_owner(const struct queue_request *request, struct error *error)
{
    struct stat is;
    if (stat(request->queue_dir, &is) != 0)
        return error_set_errno(error, request->queue_dir);
    if (geteuid() != 0 || is.st_uid == 0)
        return true;
    return (setgroups(0, NULL) == 0 && setresgid(is.st_gid, is.st_gid, is.st_gid) == 0
            && setresuid(is.st_uid, is.st_uid, is.st_uid) == 0)
           || error_set_errno(error, "becoming the queue's owner");
}

int queue_lock(const struct queue_request *request, struct error *error)
{
    char path[sizeof request->place.dir + 8];
    (void)snprintf(path, sizeof path, "%s/lock", request->queue_dir);
    return become_owner(request, error) ? file_lock(path, 0, error) : -1;
}

static bool change_directly(struct queue_request *request, struct direct *direct,
                            struct error *error)
{
    struct config quiet = *request->config;
    struct store *store = NULL;
    quiet.events.is_stdout = false; /* that is ours */
    int lock_fd = queue_lock(request, error);
    if (lock_fd < 0)
        return false;
    direct->log = event_log_open(&quiet, error);
    bool is_done = direct->log && store_open_at(&request->place.store, STORE_WRITER, &store, error)
                   && change_commit(request, store, direct, error);
    store_close(&store);
    event_log_close(&direct->log);
    close(lock_fd);
    return is_done;
}

static int queue_change(struct queue_request *request)
{
    struct store *reader;
    struct direct direct = {0};
    struct error error;
    CHECK(verb_parse(slice_of(request->verb), &direct.verb));
    switch (relay_ask(request, &direct.count, &error)) {
    case CONTROL_ANSWERED:
        return print_count(request, direct.count);
    case CONTROL_FAILED:
        return command_fail("queue", EX_UNAVAILABLE, "%s: %s", request->verb, error.text);
    case CONTROL_NOT_RUNNING:
        break;
    }
    /* A queue that is not there must not be made by this. */
    int code = queue_open(request, &reader);
    if (code != EX_OK)
        return code;
    store_close(&reader);
    if (!change_directly(request, &direct, &error))
        return command_fail("queue", EX_TEMPFAIL, "%s: %s", request->verb, error.text);
    return print_count(request, direct.count);
}

static void print_report(const struct queue_request *request, struct buf *report)
{
    struct buf out = {0};
    if (request->is_json) {
        json_open(&out, '{');
        json_put_text(&out, "report", buf_slice(report));
        json_close(&out, '}');
        buf_append_byte(&out, '\n');
    } else {
        buf_append(&out, buf_slice(report));
    }
    out_print(&out);
    buf_finish(&out);
}

static int queue_repair(struct queue_request *request)
{
    struct buf report = {0};
    struct error error;
    if (request->place.store.url)
        return command_fail("queue", EX_USAGE, "repair: the queue is in a database, which has its own means");
    if (filter_is_set(&request->filter) || request->filter.limit || request->is_all
        || request->filter.is_inverted)
        return command_fail("queue", EX_USAGE,
                            "repair: it takes the whole queue; no conditions are expected");
    int lock_fd = queue_lock(request, &error);
    if (lock_fd < 0)
        return command_fail("queue", EX_TEMPFAIL, "repair: %s", error.text);
    bool is_done = store_repair(request->queue_dir, &report, &error);
    close(lock_fd);
    print_report(request, &report);
    buf_finish(&report);
    return is_done ? EX_OK : command_fail("queue", EX_IOERR, "repair: %s", error.text);
}

static int request_run(struct queue_request *request)
{
    struct error error;
    for (size_t i = 0; i < COUNT_OF(verbs); i++) {
        if (strcmp(request->verb, verbs[i].name) != 0)
            continue;
        if (!request_check(request, verbs[i].wants_selection, &error))
            return command_fail("queue", EX_USAGE, "%s", error.text);
        return verbs[i].run(request);
    }
    return command_fail("queue", EX_USAGE, "%s is no verb; --help lists them", request->verb);
}

int command_queue(int argc, char **argv)
{
    struct queue_request request = {.filter = FILTER_ALL};
    struct command_options options;
    struct error error;
    command_parse(&argc, argv, &options);
    request.is_json = options.is_json;
    int code = EX_USAGE;
    if (!request_read(argc, argv, &request, &error)) {
        (void)command_fail("queue", code, "%s", error.text);
    } else {
        struct config *config = command_config(&options);
        request.config = config;
        (void)snprintf(request.control_path, sizeof request.control_path, "%s/control.sock",
                       config->root);
        request.queue_dir = request.place.dir;
        code = queue_place_find(config, &request.place, &error) ? request_run(&request)
                                                           : command_fail("queue", EX_CONFIG, "%s", error.text);
        queue_place_forget(&request.place);
        config_destroy(&config);
    }
    arena_finish(&request.arena);
    return code;
}
