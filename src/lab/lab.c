#include "lab/lab_private.h"

#include "base/mem.h"
#include "os/clock.h"
#include "os/loop.h"
#include "outcome/history.h"

#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

/* 2026-01-05 09:00:00 UTC, a Monday: the same for every run (L2). */
#define START_MS 1767603600000
enum { LOOK_AFTER_MS = 1000 };

static void on_seen(void *arg, json_t *what)
{
    struct lab *lab = arg;
    lab_read_events(lab); /* what the relay told before comes before */
    lab->parts->event(lab->parts->arg, what, play_now_ms(&lab->play));
    json_decref(what);
}

struct lab *lab_open(const struct lab_parts *parts, struct buf *report)
{
    struct lab *lab = mem_alloc(sizeof *lab);
    lab->parts = parts;
    lab->badmail.fd = lab->events_fd = -1;
    clock_simulate(START_MS + parts->scenario->seed % 1000);
    lab->play = (struct play){.scenario = parts->scenario, .began_ms = clock_mono_ms(),
                              .random = (uint64_t)parts->scenario->seed * 2654435761U + 88172645463325252U, .seen = on_seen, .seen_arg = lab};
    if (!lab_make_world(lab, report))
        lab_close(&lab);
    return lab;
}

const struct config *lab_config(const struct lab *lab)
{
    return lab->config;
}

static bool start(struct lab *lab, struct error *error)
{
    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
    lab->base = loop_create(error);
    lab->post = lab->base ? post_create(error) : NULL;
    if (!lab->post || !post_attach(lab->post, lab->base, error))
        return false;
    lab->play.base = lab->base;
    lab->names = names_create(&lab->play);
    lab->hosts = hosts_create(&lab->play, lab->certificates);
    lab->resolver = names_resolver(lab->names);
    lab->network = hosts_network(lab->hosts);
    lab_mail_start(lab);
    lab_steps_start(lab);
    return lab_start_relay(lab, error) && store_open_at(&lab->place, STORE_READER, &lab->reader, error);
}

/* All that can happen at this moment (L1). */
static void settle_down(struct lab *lab)
{
    do
        (void)event_base_loop(lab->base, EVLOOP_NONBLOCK);
    while (writer_turn(lab->writer, lab->failure));
    lab_read_events(lab);
}

static bool is_done(struct lab *lab, struct error *error)
{
    struct store_totals totals;
    if (lab->left || timers_next_ms() - clock_mono_ms() < LOOK_AFTER_MS)
        return false;
    return !store_totals(lab->reader, clock_wall_ms(), &totals, error) || totals.messages == 0;
}

bool lab_run(struct lab *lab, struct error *error)
{
    int64_t end_ms = lab->play.began_ms + lab->play.scenario->end_ms;
    if (!start(lab, error))
        return false;
    for (;;) {
        if (lab->is_finished) {
            lab_stop_relay(lab);
            if (!lab_start_relay(lab, error))
                return false;
        }
        settle_down(lab);
        if (lab->is_over || (!lab->is_finished && (is_done(lab, error) || !timers_run(end_ms))))
            return true;
    }
}

void lab_end(struct lab *lab)
{
    lab->is_over = true;
}

bool lab_left(struct lab *lab, store_message_fn *fn, void *arg, struct error *error)
{
    struct store_filter filter = {.state = -1};
    return store_select(lab->reader, &filter, fn, arg, error);
}

void lab_close(struct lab **lab)
{
    struct lab *l = *lab;
    if (!l)
        return;
    lab_stop_relay(l);
    lab_mail_end(l);
    lab_steps_end(l);
    hosts_destroy(&l->hosts);
    names_destroy(&l->names);
    store_close(&l->reader);
    post_destroy(&l->post);
    if (l->base)
        event_base_free(l->base);
    event_log_close(&l->log);
    if (l->events_fd >= 0)
        close(l->events_fd);
    if (l->badmail.fd >= 0)
        badmail_close(&l->badmail);
    certificates_destroy(&l->certificates);
    config_destroy(&l->config);
    buf_finish(&l->events);
    free(l->queue_dir);
    free(l->events_file);
    free(l->ca_file);
    free(l->no_config);
    free(l);
    *lab = NULL;
    libevent_global_shutdown();
}
