/* mailroot run: the relay in the foreground, as a role of the supervisor (cli/supervise.h).
 * The relay's process is the loop, intake's thread and the writer's thread. HUP lets it finish what is in flight and start
 * anew with the config as it is then, if that is without mistakes. */
#include "cli/command.h"
#include "cli/confine.h"
#include "cli/identity.h"
#include "cli/queue_place.h"
#include "cli/run_hooks.h"
#include "cli/run_pam.h"
#include "cli/run_rehearse.h"
#include "cli/run_smtp.h"
#include "cli/run_web.h"
#include "cli/supervise.h"

#include "base/mem.h"
#include "os/control.h"
#include "os/file.h"
#include "config/secrets.h"
#include "os/loop.h"
#include "config/sealer.h"
#include "os/volume.h"
#include "pickup/intake.h"
#include "relay/relay.h"
#include "smtpd/smtpd.h"
#include "relay/tls.h"

#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOCK_WAIT_MS = 3000 };

struct run {
    const struct command_options *options;
    struct config *config;
    struct event_base *base;
    struct event_log *log;
    struct badmail_folder badmail;
    struct ids ids;
    struct signer *signer;
    struct secrets *secrets;
    struct tls *tls;
    struct post *post;
    struct queue_place place;
    struct node *node;          /* NULL: the queue is ours alone */
    struct writer *writer;
    struct relay *relay;
    struct intake *intake;
    struct control *control;
    struct event *on_term, *on_int, *on_hup, *limit;
    char queue_dir[4096], control_path[4096], badmail_dir[4096];
    int lock_fd, receipts_fd;
    int exit_code;
    bool is_ending;
    bool is_queue_away;
};

struct taken_letter { struct letter letter; struct run *run; struct queued *list; };

/* ---- the relay's process ---- */

static void on_taken(struct letter *letter)
{
    struct taken_letter *taken = (struct taken_letter *)((char *)letter - offsetof(struct taken_letter, letter));
    relay_accept(taken->run->relay, taken->list);
    free(taken);
}

static void taken(void *arg, struct queued *list)
{
    struct taken_letter *letter = mem_alloc(sizeof *letter);
    *letter = (struct taken_letter){.letter.run = on_taken, .run = arg, .list = list};
    post_send(letter->run->post, &letter->letter);
}

static void tell(struct run *run, enum event_kind kind, const char *reason)
{
    struct event event = EVENT(kind);
    event.reason = slice_of(reason);
    event.note = kind == EVENT_STARTED ? SLICE("mailroot " MAILROOT_VERSION) : SLICE_NONE;
    event_put(run->log, &event);
    event_flush(run->log);
}

static void flush_log(void *arg)
{
    event_flush(arg);
}

static void finished(void *arg)
{
    struct run *run = arg;
    event_base_loopbreak(run->base);
}

static void on_limit(int fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    finished(arg);
}

static void end(struct run *run, int exit_code)
{
    if (run->is_ending)
        return;
    run->is_ending = true;
    run->exit_code = exit_code;
    writer_interrupt(run->writer); /* what it does not know then is known at the next start (pickup/folder.h F5) */
    intake_stop(&run->intake);
    struct timeval wait = {run->config->shutdown_ms / 1000, run->config->shutdown_ms % 1000 * 1000};
    (void)evtimer_add(run->limit, &wait);
    relay_finish(run->relay, finished, run);
}

static void on_end(int number, short what, void *arg)
{
    (void)number;
    (void)what;
    end(arg, 0);
}

/* A config with mistakes changes nothing: the old one serves on. */
static void on_reload(int number, short what, void *arg)
{
    struct run *run = arg;
    struct buf report = {0};
    (void)number;
    (void)what;
    struct config *config = config_load(run->options->config_file, run->options->settings,
                                        run->options->setting_count, &report);
    if (config) {
        config_destroy(&config);
        tell(run, EVENT_RELOADED, NULL);
        end(run, ROLE_RELOAD);
    } else {
        tell(run, EVENT_ERROR, buf_text(&report));
        fprintf(stderr, "mailroot run: the old config stays:\n%s", buf_text(&report));
    }
    buf_finish(&report);
}

static bool start_loop(struct run *run, struct error *error)
{
    run->base = loop_create(error);
    run->post = run->base ? post_create(error) : NULL;
    if (!run->post || !post_attach(run->post, run->base, error))
        return false;
    run->on_term = evsignal_new(run->base, SIGTERM, on_end, run);
    run->on_int = evsignal_new(run->base, SIGINT, on_end, run);
    run->on_hup = evsignal_new(run->base, SIGHUP, on_reload, run);
    run->limit = evtimer_new(run->base, on_limit, run);
    return (run->on_term && run->on_int && run->on_hup && run->limit && event_add(run->on_term, NULL) == 0
            && event_add(run->on_int, NULL) == 0 && event_add(run->on_hup, NULL) == 0)
           || error_set(error, "can't watch signals");
}

/* A queue that goes with its container, or whose locks and syncs are another machine's, loses mail. */
static bool is_queue_durable(const struct run *run, struct error *error)
{
    enum volume_kind kind;
    const char *name;
    if (!volume_look(run->queue_dir, &kind, &name, error))
        return false;
    if (kind == VOLUME_REMOTE)
        return error_set(error, "%s lies on %s: the queue has to be on a local disk; mount one there (Pickup alone may be remote: "
                                "pickup.dir)", run->queue_dir, name);
    if (kind == VOLUME_VOLATILE && !run->config->queue.is_volatile)
        return error_set(error, "%s lies on %s: mail in it is lost with the container or the machine; mount a volume at %s, or set "
                                "queue.volatile = true if that is meant", run->queue_dir, name, run->config->root);
    return true;
}

/* ---- a node of a cluster ---- */

static void on_claimed(void *arg, struct queued *list, bool is_all)
{
    relay_claimed(((struct run *)arg)->relay, list, is_all);
}

static void on_changed(void *arg, const uint64_t *ids, size_t count)
{
    struct run *run = arg;
    if (run->relay)
        relay_changed(run->relay, ids, count);
}

static void on_shared(void *arg)
{
    struct run *run = arg;
    if (run->relay)
        relay_shared(run->relay);
}

/* Another node has what was ours: nothing of this process's state is worth anything any more (node.h N4). */
static void on_fenced(void *arg)
{
    struct run *run = arg;
    tell(run, EVENT_ERROR, "another node has taken this one's messages over: it starts anew");
    run->is_ending = true;
    run->exit_code = EX_TEMPFAIL;
    finished(run);
}

static void on_told(void *arg, bool is_error, const char *text)
{
    tell(arg, is_error ? EVENT_ERROR : EVENT_WARNING, text);
}

/* The folder's own number, made once: a restart is told from another machine of the same name. */
static bool root_number(const struct run *run, char ret_text[33], struct error *error)
{
    unsigned char octets[16];
    struct buf text = {0};
    char path[4200];
    (void)snprintf(path, sizeof path, "%s/node", run->queue_dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd < 0)
        return error_set_errno(error, path);
    bool is_done = file_read(fd, 64, &text, error);
    if (is_done && text.size < 32) {
        is_done = getrandom(octets, sizeof octets, 0) == sizeof octets || error_set_errno(error, "getrandom");
        buf_clear(&text);
        for (size_t i = 0; i < sizeof octets; i++)
            buf_printf(&text, "%02x", octets[i]);
        is_done = is_done && (lseek(fd, 0, SEEK_SET) == 0 && ftruncate(fd, 0) == 0 && file_write_all(fd, buf_slice(&text), error))
                  && (fsync(fd) == 0 || error_set_errno(error, path));
    }
    if (is_done)
        (void)snprintf(ret_text, 33, "%.32s", buf_text(&text));
    buf_finish(&text);
    close(fd);
    return is_done;
}

static bool run_node_join(struct run *run, struct error *error)
{
    char root[33];
    if (!root_number(run, root, error))
        return false;
    struct node_parts parts = {&run->place.store, root, run->config->cluster.lease_ms, run->config->cluster.poll_ms, run->post,
                               on_claimed, on_changed, on_shared, on_fenced, on_told, run};
    bool may_help;
    run->node = node_join(&parts, &may_help, error);
    run->is_queue_away = !run->node && may_help;
    return run->node != NULL;
}

static bool start_queue(struct run *run, struct error *error)
{
    char lock[4200];
    uint64_t last;
    struct store *reader;
    (void)snprintf(lock, sizeof lock, "%s/lock", run->queue_dir);
    if (!is_queue_durable(run, error))
        return false;
    run->lock_fd = file_lock(lock, LOCK_WAIT_MS, error);
    if (run->lock_fd < 0)
        return error_prefix(error, "another relay serves %s", run->config->root);
    if (run->place.store.url && !run_node_join(run, error))
        return false;
    run->writer = writer_start(&run->place.store, run->node, error);
    if (!run->writer || !store_open_at(&run->place.store, STORE_READER, &reader, error))
        return false;
    writer_before_commit(run->writer, flush_log, run->log);
    bool is_done = store_last_id(reader, &last, error);
    store_close(&reader);
    ids_start(&run->ids, last, run->node ? node_slot(run->node) : 0);
    return is_done;
}

static bool start_all(struct run *run, struct error *error)
{
    const struct config *config = run->config;
    (void)snprintf(run->queue_dir, sizeof run->queue_dir, "%s/Queue", config->root);
    (void)snprintf(run->control_path, sizeof run->control_path, "%s/control.sock", config->root);
    (void)snprintf(run->badmail_dir, sizeof run->badmail_dir, "%s/Badmail", config->root);
    run->log = event_log_open(config, error);
    if (!run->log || !badmail_open(run->badmail_dir, &run->badmail, error) || !start_loop(run, error)
        || !start_queue(run, error))
        return false;
    run->receipts_fd = file_open_folder(config->receipts.dir, error); /* a folder of Pickup may wish for some */
    if (run->receipts_fd < 0 && config->receipts.is_on)
        return false;
    struct relay_parts relay = {run->base, config, &run->ids, run->writer, run->post, run->log, &run->badmail,
                                run->queue_dir, &run->place.store, run->node, run->receipts_fd, run->signer, run->secrets, run->tls,
                                false, &run->options->link};
    run->tls = NULL;
    run->relay = relay_start(&relay, error);
    if (!run->relay
        || !control_listen(run->base, run->control_path, relay_control, run->relay, &run->control, error))
        return false;
    struct intake_parts intake = {config, &run->ids, run->writer, run->log, &run->badmail, run->queue_dir, &run->place.store,
                                  run->signer, taken, run};
    run->intake = intake_start(&intake, error);
    return run->intake != NULL;
}

static void stop_all(struct run *run)
{
    struct event *events[] = {run->on_term, run->on_int, run->on_hup, run->limit};
    control_close(&run->control);
    intake_stop(&run->intake);
    writer_stop(&run->writer); /* commits what waits */
    if (run->node)
        node_stop(run->node);
    if (run->is_ending || run->node)
        post_run(run->post); /* the last letters: nothing is begun any more, what they hold is let go */
    relay_destroy(&run->relay);
    node_leave(&run->node);
    for (size_t i = 0; i < COUNT_OF(events); i++)
        if (events[i])
            event_free(events[i]);
    post_destroy(&run->post);
    if (run->base)
        event_base_free(run->base);
    if (run->badmail.fd >= 0)
        badmail_close(&run->badmail);
    if (run->log && run->exit_code == 0)
        tell(run, EVENT_STOPPED, NULL);
    event_log_close(&run->log);
    if (run->receipts_fd >= 0)
        close(run->receipts_fd);
    if (run->lock_fd >= 0)
        close(run->lock_fd);
    libevent_global_shutdown();
}

static bool open_secrets(struct run *run, struct error *error)
{
    run->signer = signer_open(run->config, error);
    run->secrets = run->signer && sealer_check(run->config, run->signer, error) ? secrets_open(run->config, error) : NULL;
    run->tls = run->secrets ? tls_open(run->config, error) : NULL;
    return run->tls != NULL;
}

static bool relay_can_start(const struct config *config, struct error *error)
{
    struct run run = {.config = (struct config *)(uintptr_t)config};
    bool is_fine = open_secrets(&run, error);
    tls_close(&run.tls);
    secrets_close(&run.secrets);
    signer_close(&run.signer);
    return is_fine;
}

static int relay_main(const struct command_options *options)
{
    struct run run = {.options = options, .config = command_config(options), .badmail.fd = -1, .lock_fd = -1,
                      .receipts_fd = -1};
    struct error error = {0};
    signal(SIGPIPE, SIG_IGN);
    signal(SIGIO, SIG_IGN); /* a writer opened a file whose lease we hold (fcntl(2)) */
    (void)umask(027);
    link_leave(&options->pam_link);
    identity_raise_limits();
    bool has_secrets = open_secrets(&run, &error); /* while it may still read what is root's alone */
    if (!has_secrets || !queue_place_find(run.config, &run.place, &error)
        || !identity_make_folders(run.config, &error) || !identity_become(run.config, &error)
        || !confine_relay(run.config, &error) || !start_all(&run, &error)) {
        /* A database that is away is no mistake of the config's: the supervisor tries again. */
        run.exit_code = command_fail("run", run.is_queue_away ? EX_TEMPFAIL : EX_CONFIG, "%s", error.text);
        if (run.log)
            tell(&run, EVENT_ERROR, error.text);
    } else {
        tell(&run, EVENT_STARTED, NULL);
        if (!loop_run(run.base, &error))
            run.exit_code = command_fail("run", EX_TEMPFAIL, "%s", error.text);
    }
    stop_all(&run);
    signer_close(&run.signer);
    secrets_close(&run.secrets);
    queue_place_forget(&run.place);
    tls_close(&run.tls);
    config_destroy(&run.config);
    return run.exit_code;
}

static const struct role roles[] = {
    {"relay", NULL, relay_can_start, relay_main},
    {"smtp", run_smtp_is_wanted, smtpd_check, run_smtp_main},
    {"pam", run_pam_is_wanted, NULL, run_pam_main},
    {"web", run_web_is_wanted, NULL, run_web_main},
    {"hooks", run_hooks_is_wanted, NULL, run_hooks_main},
    {"rehearse", run_rehearse_is_wanted, NULL, run_rehearse_main},
    {NULL, NULL, NULL, NULL},
};

int command_run(int argc, char **argv)
{
    struct command_options options;
    struct error error;
    command_parse(&argc, argv, &options);
    if (argc > 1)
        return command_fail("run", EX_USAGE, "%s: no operand is expected", argv[1]);
    struct config *config = command_config(&options); /* mistakes are said before anything starts */
    config_destroy(&config);
    if (!link_make(&options.link, &error) || !link_make(&options.pam_link, &error))
        return command_fail("run", EX_OSERR, "%s", error.text);
    return supervise(roles, &options);
}
