/* mailroot rehearse FILE: what would become of the message if it were dropped into Pickup now, without sending it.
 *
 *   file ─prepare─> a queue of its own, in a temporary folder ─> the relay itself, up to RCPT, then RSET ─> its events ─> verdict
 *
 * It is the relay that rehearses: routes, hosts, TLS and limits are those of the real way, not a second opinion on them. */
#include "cli/command.h"
#include "cli/message_file.h"

#include "base/mem.h"
#include "config/value.h"
#include "os/clock.h"
#include "os/loop.h"
#include "outcome/history.h"
#include "relay/relay.h"

#include <errno.h>
#include <event2/event.h>
#include <ftw.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOOK_MS = 20, LEAVE_S = 5, TIMEOUT_MS = 2 * 60 * 1000 };

struct rehearsal {
    struct secrets *secrets;
    struct config *config;
    const char *path;
    int64_t timeout_ms;
    char folder[64], events_file[96], badmail_dir[96];
    struct event_base *base;
    struct event *look, *limit;
    struct event_log *log;
    struct badmail_folder badmail;
    struct ids ids;
    struct post *post;
    struct writer *writer;
    struct relay *relay;
    size_t recipient_count;
    json_t *outcomes;       /* recipient: its event */
    bool is_ending;
};

/* ---- the events of this run ---- */

static bool is_outcome(const char *kind)
{
    static const char *const kinds[] = {"delivered", "bounced", "deferred", "expired", "unknown"};
    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        if (strcmp(kind, kinds[i]) == 0)
            return true;
    return false;
}

static void read_outcomes(struct rehearsal *rehearsal)
{
    char *line = NULL;
    size_t room = 0;
    FILE *file = fopen(rehearsal->events_file, "re");
    while (file && getline(&line, &room, file) > 0) {
        json_t *event = json_loads(line, 0, NULL);
        if (event && is_outcome(history_text(event, "event")))
            (void)json_object_set(rehearsal->outcomes, history_text(event, "to"), event);
        json_decref(event);
    }
    free(line);
    if (file)
        (void)fclose(file);
}

static void finished(void *arg)
{
    struct rehearsal *rehearsal = arg;
    event_base_loopbreak(rehearsal->base);
}

static void on_limit(int fd, short what, void *arg)
{
    struct rehearsal *rehearsal = arg;
    struct timeval leave = {LEAVE_S, 0};
    (void)fd;
    (void)what;
    if (rehearsal->is_ending) {
        finished(rehearsal);
        return;
    }
    rehearsal->is_ending = true;
    (void)evtimer_add(rehearsal->limit, &leave);
    relay_finish(rehearsal->relay, finished, rehearsal);
}

static void on_look(int fd, short what, void *arg)
{
    struct rehearsal *rehearsal = arg;
    struct timeval soon = {0, LOOK_MS * 1000};
    read_outcomes(rehearsal);
    if (json_object_size(rehearsal->outcomes) >= rehearsal->recipient_count)
        on_limit(fd, what, arg);
    else
        (void)evtimer_add(rehearsal->look, &soon);
}

/* ---- a place of its own ---- */

static bool make_place(struct rehearsal *r, struct error *error)
{
    (void)snprintf(r->folder, sizeof r->folder, "/tmp/mailroot-rehearse-XXXXXX");
    if (!mkdtemp(r->folder))
        return error_set_errno(error, "a temporary folder");
    (void)snprintf(r->events_file, sizeof r->events_file, "%s/events.jsonl", r->folder);
    (void)snprintf(r->badmail_dir, sizeof r->badmail_dir, "%s/Badmail", r->folder);
    free(r->config->events.file);
    r->config->events.file = mem_copy_text(r->events_file);
    r->config->events.is_stdout = false;
    free(r->config->w3c.dir);
    r->config->w3c.dir = NULL;
    return mkdir(r->badmail_dir, 0700) == 0 || error_set_errno(error, r->badmail_dir);
}

static int remove_one(const char *path, const struct stat *is, int kind, struct FTW *walk)
{
    (void)is;
    (void)kind;
    (void)walk;
    return remove(path);
}

/* The message as intake would queue it; nobody is to be told of its end. */
static bool queue_it(struct rehearsal *r, struct arena *arena, struct prepared *prepared,
                     const struct prepare_about *about, struct error *error)
{
    struct store *store;
    struct queued *queued = prepare_queued(arena, r->config, prepared, about);
    for (size_t i = 0; i < queued->recipient_count; i++) {
        queued->recipients[i].notify = NOTIFY_NEVER;
        queued->recipients[i].next_ms = about->time_ms; /* X-Deliver-At, a window and a release are for the real one */
        queued->recipients[i].state = STATE_QUEUED;
    }
    r->recipient_count = queued->recipient_count;
    bool is_stored = !queued->message.is_in_file
                     || store_body_write(r->folder, about->id, buf_slice(&prepared->content), error);
    if (is_stored && store_open(r->folder, STORE_WRITER, &store, error)) {
        is_stored = store_begin(store, error) && queued_store(queued, store, error) && store_commit(store, error);
        store_close(&store);
    } else {
        is_stored = false;
    }
    queued_destroy(&queued);
    return is_stored;
}

static bool start(struct rehearsal *r, struct error *error)
{
    struct timeval limit = {r->timeout_ms / 1000, r->timeout_ms % 1000 * 1000}, soon = {0, LOOK_MS * 1000};
    r->base = loop_create(error);
    r->post = r->base ? post_create(error) : NULL;
    if (!r->post || !post_attach(r->post, r->base, error))
        return false;
    r->log = event_log_open(r->config, error);
    if (!r->log || !badmail_open(r->badmail_dir, &r->badmail, error))
        return false;
    r->writer = writer_start(r->folder, error);
    if (!r->writer)
        return false;
    struct relay_parts parts = {.base = r->base, .config = r->config, .ids = &r->ids, .writer = r->writer, .post = r->post,
                                .log = r->log, .badmail = &r->badmail, .queue_dir = r->folder, .receipts_fd = -1,
                                .secrets = r->secrets = secrets_open(r->config, error), .is_rehearsal = true};
    r->relay = r->secrets ? relay_start(&parts, error) : NULL;
    r->look = evtimer_new(r->base, on_look, r);
    r->limit = evtimer_new(r->base, on_limit, r);
    return r->relay
           && ((r->look && r->limit && evtimer_add(r->look, &soon) == 0 && evtimer_add(r->limit, &limit) == 0)
               || error_set(error, "can't set a timer"));
}

static void stop(struct rehearsal *r)
{
    writer_stop(&r->writer);
    if (r->post)
        post_run(r->post);
    relay_destroy(&r->relay);
    if (r->look)
        event_free(r->look);
    if (r->limit)
        event_free(r->limit);
    post_destroy(&r->post);
    if (r->base)
        event_base_free(r->base);
    if (r->badmail.fd >= 0)
        badmail_close(&r->badmail);
    event_log_close(&r->log);
    secrets_close(&r->secrets);
}

/* ---- the verdict ---- */

static const char *verdict_of(const json_t *event)
{
    const char *kind = event ? history_text(event, "event") : "";
    return strcmp(kind, "delivered") == 0                              ? "accepted"
           : strcmp(kind, "bounced") == 0 || strcmp(kind, "expired") == 0 ? "refused"
           : kind[0]                                                   ? "deferred"
                                                                       : "no answer";
}

static int code_of(const char *verdict)
{
    return strcmp(verdict, "accepted") == 0 ? EX_OK : strcmp(verdict, "refused") == 0 ? EX_UNAVAILABLE : EX_TEMPFAIL;
}

static json_t *recipient_json(const char *address, const json_t *event)
{
    static const char *const keys[] = {"mx", "ip", "tls", "stage", "code", "status", "class", "reply", "reason", "connect_ms",
                                       "transaction_ms"};
    json_t *json = json_pack("{s:s, s:s}", "recipient", address, "verdict", verdict_of(event));
    for (size_t i = 0; event && i < COUNT_OF(keys); i++) {
        json_t *value = json_object_get(event, keys[i]);
        if (value)
            (void)json_object_set(json, keys[i], value);
    }
    return json;
}

static void print_recipient(const char *address, const json_t *event)
{
    printf("  %-9s <%s>", verdict_of(event), address);
    if (event && history_text(event, "mx")[0])
        printf("  by %s[%s]%s%s", history_text(event, "mx"), history_text(event, "ip"), history_text(event, "tls")[0] ? ", " : "",
               history_text(event, "tls"));
    if (event)
        printf("\n            %s%s", history_text(event, "reply"), history_text(event, "reason"));
    (void)putchar('\n');
}

/* The worst recipient's verdict is the file's. */
static int tell(const struct rehearsal *r, const struct envelope *envelope, bool is_json)
{
    json_t *list = json_array();
    const char *worst = "accepted";
    for (size_t i = 0; i < envelope->recipient_count; i++) {
        char *address = slice_copy(envelope->recipients[i].address.text);
        const json_t *event = json_object_get(r->outcomes, address);
        const char *verdict = verdict_of(event);
        if (code_of(verdict) == EX_UNAVAILABLE || code_of(worst) == EX_OK)
            worst = verdict;
        if (is_json)
            json_array_append_new(list, recipient_json(address, event));
        else
            print_recipient(address, event);
        free(address);
    }
    if (is_json) {
        json_t *json = json_pack("{s:s, s:s, s:o}", "file", r->path, "verdict", worst, "recipients", list);
        (void)json_dumpf(json, stdout, JSON_COMPACT);
        (void)putchar('\n');
        json_decref(json);
    } else {
        json_decref(list);
    }
    return code_of(worst);
}

static int tell_refused(const char *path, const struct error *error, bool is_json)
{
    if (is_json) {
        json_t *json = json_pack("{s:s, s:s, s:s}", "file", path, "verdict", "refused at intake", "reason", error->text);
        (void)json_dumpf(json, stdout, JSON_COMPACT);
        (void)putchar('\n');
        json_decref(json);
    } else {
        printf("%s: refused at intake: %s\n", path, error->text);
    }
    return EX_DATAERR;
}

/* ---- one file ---- */

static int run_it(struct rehearsal *r, struct message_file *file, bool is_json)
{
    struct prepared *prepared = &file->prepared;
    struct error error = {{0}};
    size_t size = prepared->content.size; /* the queue takes it */
    int code;
    if (make_place(r, &error) && queue_it(r, &file->arena, prepared, &file->about, &error) && start(r, &error)) {
        if (!is_json)
            printf("%s: from <%.*s>, %zu octets; nothing is sent\n", r->path, SLICE_FMT(prepared->envelope.sender.text),
                   size);
        (void)fflush(stdout);
        (void)event_base_dispatch(r->base);
        event_flush(r->log);
        read_outcomes(r);
        code = tell(r, &prepared->envelope, is_json);
    } else {
        code = command_fail("rehearse", EX_OSERR, "%s", error.text);
    }
    stop(r);
    if (r->folder[0])
        (void)nftw(r->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return code;
}

static int rehearse(struct config *config, const struct folder_conf *folder, const char *path, int64_t timeout_ms, bool is_json)
{
    struct message_file file;
    struct rehearsal r = {.config = config, .path = path, .timeout_ms = timeout_ms, .badmail.fd = -1,
                          .outcomes = json_object()};
    int code;
    if (message_file_prepare(config, folder, path, ids_next(&r.ids, clock_wall_ms()), &file))
        code = run_it(&r, &file, is_json);
    else if (!file.is_read)
        code = command_fail("rehearse", EX_NOINPUT, "%s: %s", path, file.error.text);
    else
        code = tell_refused(path, &file.error, is_json);
    json_decref(r.outcomes);
    message_file_finish(&file);
    return code;
}

int command_rehearse(int argc, char **argv)
{
    struct command_options options;
    int64_t timeout_ms = TIMEOUT_MS;
    int code = EX_OK, files = 0;
    command_parse(&argc, argv, &options);
    const char *timeout = command_value(&argc, argv, "--timeout"), *folder_name = command_value(&argc, argv, "--folder");
    if (timeout && !value_duration(slice_of(timeout), &timeout_ms))
        return command_fail("rehearse", EX_USAGE, "%s: a duration such as 2m was expected", timeout);
    for (int i = 1; i < argc; i++)
        if (argv[i][0] == '-')
            return command_fail("rehearse", EX_USAGE, "%s: no such option", argv[i]);
    for (int i = 1; i < argc; i++, files++) {
        struct config *config = command_config(&options);
        struct folder_conf *folder = folder_name ? message_file_folder(config, "rehearse", folder_name) : NULL;
        int one = folder_name && !folder ? EX_CONFIG : rehearse(config, folder, argv[i], timeout_ms, options.is_json);
        code = code == EX_OK || one == EX_UNAVAILABLE ? one : code;
        folder_conf_destroy(&folder);
        config_destroy(&config);
    }
    return files ? code : command_fail("rehearse", EX_USAGE, "a file was expected");
}
