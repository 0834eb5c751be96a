#include "cli/rehearsal.h"

#include "base/mem.h"
#include "cli/command.h"
#include "cli/judge.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/loop.h"
#include "outcome/history.h"
#include "relay/relay.h"

#include <event2/event.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { LOOK_MS = 20, LEAVE_S = 5 };

struct rehearsal {
    const struct rehearsal_parts *parts;
    struct store_place place;
    char folder[4096], events_file[4200], badmail_dir[4200];
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
    if (snprintf(r->folder, sizeof r->folder, "%s/.rehearse-XXXXXX", r->parts->work_dir) >= (int)sizeof r->folder)
        return error_set(error, "%s: path too long", r->parts->work_dir);
    if (!mkdtemp(r->folder))
        return error_set_errno(error, "a temporary folder");
    (void)snprintf(r->events_file, sizeof r->events_file, "%s/events.jsonl", r->folder);
    (void)snprintf(r->badmail_dir, sizeof r->badmail_dir, "%s/Badmail", r->folder);
    free(r->parts->config->events.file);
    r->parts->config->events.file = mem_copy_text(r->events_file);
    r->parts->config->events.is_stdout = false;
    free(r->parts->config->w3c.dir);
    r->parts->config->w3c.dir = NULL;
    return mkdir(r->badmail_dir, 0700) == 0 || error_set_errno(error, r->badmail_dir);
}

/* The message as intake would queue it; nobody is to be told of its end. */
static bool queue_it(struct rehearsal *r, struct message_file *file, struct queued **ret_queued, struct error *error)
{
    struct store *store;
    struct prepared *prepared = &file->prepared;
    const struct prepare_about *about = &file->about;
    struct queued *queued = *ret_queued = prepare_queued(&file->arena, r->parts->config, prepared, about);
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
    return is_stored;
}

static bool start(struct rehearsal *r, struct error *error)
{
    struct timeval limit = {r->parts->timeout_ms / 1000, r->parts->timeout_ms % 1000 * 1000}, soon = {0, LOOK_MS * 1000};
    r->base = loop_create(error);
    r->post = r->base ? post_create(error) : NULL;
    if (!r->post || !post_attach(r->post, r->base, error))
        return false;
    r->log = event_log_open(r->parts->config, error);
    if (!r->log || !badmail_open(r->badmail_dir, &r->badmail, error))
        return false;
    r->place = (struct store_place){.dir = r->folder};
    r->writer = writer_start(&r->place, NULL, error);
    if (!r->writer)
        return false;
    struct relay_parts parts = {.base = r->base, .config = r->parts->config, .ids = &r->ids, .writer = r->writer, .post = r->post,
                                .log = r->log, .badmail = &r->badmail, .queue_dir = r->folder, .place = &r->place, .receipts_fd = -1,
                                .secrets = r->parts->secrets, .is_rehearsal = true};
    r->relay = relay_start(&parts, error);
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
    return strcmp(verdict, "accepted") == 0            ? EX_OK
           : strcmp(verdict, "refused") == 0           ? EX_UNAVAILABLE
           : strcmp(verdict, "refused at intake") == 0 ? EX_DATAERR
                                                       : EX_TEMPFAIL;
}

int rehearsal_code(const json_t *verdict)
{
    return code_of(history_text(verdict, "verdict"));
}

static void fit(json_t *to, const char *format, unsigned long long number)
{
    char text[160];
    (void)snprintf(text, sizeof text, format, number);
    (void)json_array_append_new(to, json_string(text));
}

static bool has_word(struct slice words, const char *wanted)
{
    while (words.size)
        if (slice_equals(slice_cut(&words, ' '), slice_of(wanted)))
            return true;
    return false;
}

/* How size, 8-bit text and UTF-8 of the message fit what the host said at EHLO. */
static void add_fit(json_t *json, const struct queued *queued, struct slice offers)
{
    const struct store_message *message = &queued->message;
    json_t *words = json_array(), *list = json_array();
    uint64_t limit = 0;
    for (struct slice rest = offers; rest.size;) {
        struct slice word = slice_cut(&rest, ' ');
        (void)json_array_append_new(list, json_stringn(word.data, word.size));
        if (slice_starts(word, SLICE("size=")))
            (void)slice_to_u64(slice_from(word, 5), &limit);
    }
    if (limit && message->size > limit)
        fit(words, "too large: it takes %llu octets", limit);
    else if (limit)
        fit(words, "size fits: it takes %llu octets", limit);
    else
        fit(words, "it names no limit of size", 0);
    if (message->flags & MESSAGE_8BIT)
        fit(words, has_word(offers, "8bitmime") ? "8-bit text goes as it is" : "no 8BITMIME: 8-bit text is converted", 0);
    if (message->flags & MESSAGE_SMTPUTF8)
        fit(words, has_word(offers, "smtputf8") ? "UTF-8 in header or addresses goes as it is" : "no SMTPUTF8: it can't be sent there", 0);
    (void)json_object_set_new(json, "offers", list);
    (void)json_object_set_new(json, "fit", words);
}

static json_t *recipient_json(const char *address, const json_t *event, const struct queued *queued)
{
    static const char *const keys[] = {"mx", "ip", "tls", "stage", "code", "status", "class", "reply", "reason", "connect_ms",
                                       "transaction_ms"};
    json_t *json = json_pack("{s:s, s:s}", "recipient", address, "verdict", verdict_of(event));
    for (size_t i = 0; event && i < COUNT_OF(keys); i++) {
        json_t *value = json_object_get(event, keys[i]);
        if (value)
            (void)json_object_set(json, keys[i], value);
    }
    if (event && json_object_get(event, "note"))
        add_fit(json, queued, slice_of(history_text(event, "note")));
    return json;
}

/* The worst recipient's verdict is the file's. */
static void add_recipients(const struct rehearsal *r, const struct queued *queued, json_t *to)
{
    json_t *list = json_array();
    const char *worst = "accepted";
    for (size_t i = 0; i < queued->recipient_count; i++) {
        char *address = slice_copy(queued->recipients[i].address);
        const json_t *event = json_object_get(r->outcomes, address);
        const char *verdict = verdict_of(event);
        if (code_of(verdict) == EX_UNAVAILABLE || code_of(worst) == EX_OK)
            worst = verdict;
        (void)json_array_append_new(list, recipient_json(address, event, queued));
        free(address);
    }
    (void)json_object_set_new(to, "verdict", json_string(worst));
    (void)json_object_set_new(to, "recipients", list);
}

/* ---- words ---- */

static void put_recipient(const json_t *recipient, struct buf *out)
{
    size_t i;
    json_t *word;
    buf_printf(out, "  %-9s <%s>", history_text(recipient, "verdict"), history_text(recipient, "recipient"));
    if (history_text(recipient, "mx")[0])
        buf_printf(out, "  by %s[%s]%s%s", history_text(recipient, "mx"), history_text(recipient, "ip"),
                   history_text(recipient, "tls")[0] ? ", " : "", history_text(recipient, "tls"));
    if (history_text(recipient, "reply")[0] || history_text(recipient, "reason")[0])
        buf_printf(out, "\n            %s%s", history_text(recipient, "reply"), history_text(recipient, "reason"));
    json_array_foreach(json_object_get(recipient, "fit"), i, word)
        buf_printf(out, "%s%s", i ? "; " : "\n            ", json_string_value(word));
    buf_append_byte(out, '\n');
}

static void put_sender(const json_t *sender, struct buf *out)
{
    size_t i, k;
    json_t *address, *signature, *word;
    buf_printf(out, "  sender    %s\n", history_text(sender, "verdict"));
    json_array_foreach(json_object_get(sender, "addresses"), i, address) {
        buf_printf(out, "            from %s: PTR %s, SPF %s, ", history_text(address, "ip"), history_text(address, "ptr"),
                   history_text(address, "spf"));
        json_array_foreach(json_object_get(address, "dkim"), k, signature)
            buf_printf(out, "DKIM %s (%s), ", history_text(signature, "result"), history_text(signature, "domain"));
        buf_printf(out, "DMARC %s\n", history_text(address, "dmarc"));
    }
    json_array_foreach(json_object_get(sender, "words"), i, word)
        buf_printf(out, "            %s\n", json_string_value(word));
}

void rehearsal_words(const json_t *verdict, struct buf *out)
{
    size_t i;
    json_t *recipient;
    if (rehearsal_code(verdict) == EX_DATAERR) {
        buf_printf(out, "%s: refused at intake: %s\n", history_text(verdict, "file"), history_text(verdict, "reason"));
        return;
    }
    buf_printf(out, "%s: from <%s>, %lld octets; nothing is sent\n", history_text(verdict, "file"), history_text(verdict, "from"),
               (long long)json_integer_value(json_object_get(verdict, "size")));
    json_array_foreach(json_object_get(verdict, "recipients"), i, recipient)
        put_recipient(recipient, out);
    if (json_object_get(verdict, "sender"))
        put_sender(json_object_get(verdict, "sender"), out);
}

/* ---- one file ---- */

static void remove_place(const struct rehearsal *r)
{
    if (r->folder[0])
        file_remove_tree(r->folder);
}

static int sweep_one(const char *path, const struct stat *is, int kind, struct FTW *walk)
{
    const char *name = path + walk->base;
    if (walk->level == 1 && kind == FTW_D && strncmp(name, ".rehearse-", 10) == 0)
        file_remove_tree(path);
    (void)is;
    return walk->level > 0 ? FTW_SKIP_SUBTREE : FTW_CONTINUE;
}

void rehearsal_sweep(const char *work_dir)
{
    (void)nftw(work_dir, sweep_one, 16, FTW_PHYS | FTW_ACTIONRETVAL);
}

static json_t *run_it(struct rehearsal *r, struct message_file *file, struct error *error)
{
    const struct rehearsal_parts *parts = r->parts;
    struct slice message = arena_copy(&file->arena, buf_slice(&file->prepared.content)); /* the queue takes it */
    struct slice sender = file->prepared.envelope.sender.text;
    json_t *json = json_pack("{s:o, s:I}", "from", json_stringn(sender.data, sender.size), "size", (json_int_t)message.size);
    struct queued *queued = NULL;
    if (make_place(r, error) && queue_it(r, file, &queued, error) && start(r, error)) {
        (void)event_base_dispatch(r->base);
        event_flush(r->log);
        read_outcomes(r);
        add_recipients(r, queued, json);
        (void)json_object_set_new(json, "sender", judge_message(parts->config, parts->folder, sender, message));
    } else {
        json_decref(json);
        json = NULL;
    }
    stop(r);
    remove_place(r);
    queued_destroy(&queued);
    return json;
}

json_t *rehearsal_run(const struct rehearsal_parts *parts, int fd, const char *name, struct error *error)
{
    struct message_file file;
    struct rehearsal r = {.parts = parts, .badmail.fd = -1, .outcomes = json_object()};
    json_t *json = NULL;
    bool is_fine = message_file_prepare(parts->config, parts->folder, parts->signer, fd, name, ids_next(&r.ids, clock_wall_ms()), &file);
    if (is_fine && file.message_count > 1)
        (void)error_set(error, "an mbox of %zu messages: rehearse them one by one", file.message_count);
    else if (is_fine)
        json = run_it(&r, &file, error);
    else if (!file.is_read)
        (void)error_set(error, "%s", file.error.text);
    else
        json = json_pack("{s:s, s:s}", "verdict", "refused at intake", "reason", file.error.text);
    if (json)
        (void)json_object_set_new(json, "file", json_string(name));
    json_decref(r.outcomes);
    message_file_finish(&file);
    return json;
}
