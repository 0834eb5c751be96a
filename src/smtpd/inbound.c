#include "smtpd/inbound.h"

#include "base/mem.h"
#include "inbound/answer.h"
#include "inbound/auth_results.h"
#include "os/clock.h"
#include "smtpd/filter.h"

#include <event2/event.h>
#include <libpsl.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/random.h>

struct question {
    struct question *next;
    struct inbound *inbound;
    struct lookup *lookup;
    int async_id;
};

struct inbound {
    struct session *session;
    struct checks checks;
    struct event *timer;
    struct question *questions;
    size_t asked;              /* of checks.lookups */
    bool is_begun, is_decided, is_late;
    struct buf trace, bytes;   /* header lines of ours; the message without claims to be ours, empty: as it came */
    struct slice content;      /* what is stored: that, or what filters made of it */
    struct submission submission;
    struct filter *filter;     /* NULL: not yet, or there are none */
    const char *refusal;
    bool is_discarded;
};

static void submit(struct inbound *inbound);

/* ---- the process ---- */

static bool makes_checks(const struct config *config)
{
    return config->smtp.checks.iprev || config->smtp.checks.spf || config->smtp.checks.dkim || config->smtp.checks.dmarc
           || config->smtp.checks.arc;
}

bool inbound_is_wanted(const struct config *config)
{
    return config->smtp.milter.sockets.count || makes_checks(config);
}

bool inbound_open(struct smtpd *smtpd, struct error *error)
{
    if (!makes_checks(smtpd->config))
        return true;
    smtpd->suffixes = psl_latest(NULL); /* Debian's list where it is newer than the library's own */
    if (!smtpd->suffixes)
        return error_set(error, "smtp.checks: the public suffix list can't be used");
    smtpd->unbound = unbound_create(smtpd->base, smtpd->config, error);
    if (smtpd->unbound)
        smtpd->resolver = unbound_resolver(smtpd->unbound);
    return smtpd->unbound != NULL;
}

void inbound_close(struct smtpd *smtpd)
{
    unbound_destroy(&smtpd->unbound);
    psl_free(smtpd->suffixes);
}

void inbound_account(struct session *session)
{
    struct server *server = &session->server;
    struct smtpd *smtpd = session->smtpd;
    size_t now = server->content.is_held ? server->content.bytes.size : 0;
    smtpd->held_octets += now - session->held_octets;
    session->held_octets = now;
    if (smtpd->held_octets > smtpd->config->smtp.checks.memory && now && server->want == SERVER_READ)
        server_give_up(server, "452 4.3.1 too much is being looked at, try later");
}

/* ---- DNS ---- */

static void drop_questions(struct inbound *inbound)
{
    const struct resolver *resolver = &inbound->session->smtpd->resolver;
    while (inbound->questions) {
        struct question *question = inbound->questions;
        inbound->questions = question->next;
        resolver->cancel(resolver->arg, question->async_id);
        free(question);
    }
}

static void on_answer(void *arg, int problem, struct ub_result *result)
{
    struct question *question = arg;
    struct inbound *inbound = question->inbound;
    struct question **at = &inbound->questions;
    while (*at != question)
        at = &(*at)->next;
    *at = question->next;
    answer_fill(&inbound->checks.lookups, question->lookup, problem ? NULL : result);
    if (!inbound->questions)
        submit(inbound);
    if (!problem)
        ub_resolve_free(result);
    free(question);
}

static void ask(struct inbound *inbound)
{
    struct lookups *lookups = &inbound->checks.lookups;
    const struct resolver *resolver = &inbound->session->smtpd->resolver;
    for (; inbound->asked < lookups->count; inbound->asked++) {
        struct lookup *lookup = lookups->items[inbound->asked];
        char *name = slice_copy(lookup->name);
        struct question *question = mem_alloc(sizeof *question);
        *question = (struct question){inbound->questions, inbound, lookup, 0};
        if (!resolver->ask(resolver->arg, name, lookup->type, on_answer, question, &question->async_id)) {
            answer_fill(lookups, lookup, NULL);
            free(question);
        } else {
            inbound->questions = question;
        }
        free(name);
    }
    if (!inbound->questions)
        submit(inbound);
}

/* ---- the pool's part ---- */

static struct session *session_of(struct pool_job *job)
{
    return (struct session *)((char *)job - offsetof(struct session, job));
}

static void begin(struct inbound *inbound)
{
    const struct session *session = inbound->session;
    const struct config *config = session->smtpd->config;
    const struct server *server = &session->server;
    const struct checks_options options = {
        config->smtp.checks.iprev, config->smtp.checks.spf, config->smtp.checks.dkim, config->smtp.checks.dmarc,
        config->smtp.checks.arc, config->smtp.checks.authserv_id ? config->smtp.checks.authserv_id : config->hostname,
        session->smtpd->suffixes,
    };
    unsigned dice = 0;
    (void)!getrandom(&dice, sizeof dice, 0); /* 0 is as good a number as others */
    const struct checks_subject subject = {
        server->client.address, slice_of(server->client.helo), server_submission(server)->sender, server->store.bytes,
        server->now_ms, dice % 100,
    };
    checks_begin(&inbound->checks, &options, &subject);
    inbound->is_begun = true;
}

static void run(struct pool_job *job)
{
    struct inbound *inbound = session_of(job)->inbound;
    if (!inbound->is_begun)
        begin(inbound);
    inbound->is_decided = checks_run(&inbound->checks);
    if (!inbound->is_decided)
        return;
    const struct checks *checks = &inbound->checks;
    if (makes_checks(inbound->session->smtpd->config))
        auth_results_put(checks, &inbound->trace);
    if (!auth_results_strip(&checks->header, checks->subject.message, checks->options.host, &inbound->bytes))
        buf_clear(&inbound->bytes);
}

/* ---- the loop's part ---- */

static const char *verdict(const struct inbound *inbound)
{
    const struct config *config = inbound->session->smtpd->config;
    const struct checks *checks = &inbound->checks;
    if (config->smtp.checks.spf == CONFIG_CHECK_ENFORCE && checks->spf.result == SPF_FAIL)
        return "550 5.7.23 SPF: the sender's domain does not let your address send";
    if (config->smtp.checks.dmarc == CONFIG_CHECK_ENFORCE && checks->dmarc.result == DMARC_FAIL
        && checks->dmarc.policy == DMARC_ASKS_REJECT)
        return "550 5.7.1 DMARC: the domain in From asks to refuse what it did not authenticate";
    return NULL;
}

/* On with the session: to be stored, or answered. */
static void conclude(struct inbound *inbound)
{
    struct session *session = inbound->session;
    inbound->submission.trace = buf_slice(&inbound->trace);
    session->has_job = false;
    if (session->is_gone || inbound->refusal || inbound->is_discarded)
        session_continue(session);
    else
        storage_submit(session);
}

static void filtered(void *arg, const struct filter_outcome *outcome)
{
    struct inbound *inbound = arg;
    inbound->refusal = outcome->end == FILTER_REFUSES ? outcome->reply : NULL;
    inbound->is_discarded = outcome->end == FILTER_DISCARDS;
    inbound->content = outcome->message;
    if (outcome->hold)
        inbound->submission.hold = slice_of(outcome->hold);
    conclude(inbound);
}

/* What was found out is complete. */
static void judge(struct inbound *inbound)
{
    struct session *session = inbound->session;
    inbound->refusal = verdict(inbound);
    (void)event_del(inbound->timer);
    inbound->submission = *server_submission(&session->server);
    buf_append(&inbound->trace, inbound->submission.trace);
    inbound->content = inbound->bytes.size ? buf_slice(&inbound->bytes) : session->server.store.bytes;
    if (inbound->refusal || session->smtpd->config->smtp.milter.sockets.count == 0)
        conclude(inbound);
    else
        inbound->filter = filter_create(session, inbound->content, filtered, inbound);
}

static void done(struct letter *letter)
{
    struct session *session = session_of((struct pool_job *)((char *)letter - offsetof(struct pool_job, done)));
    struct inbound *inbound = session->inbound;
    if (session->is_gone) {
        session->has_job = false;
        session_free(session);
    } else if (inbound->is_decided) {
        judge(inbound);
    } else {
        if (inbound->is_late)
            lookups_give_up(&inbound->checks.lookups);
        if (inbound->is_late)
            submit(inbound);
        else
            ask(inbound);
    }
}

static void submit(struct inbound *inbound)
{
    struct session *session = inbound->session;
    session->has_job = true; /* questions that are out count as one: the server isn't fed, a client that left is noted */
    session->job = (struct pool_job){.work = run, .done.run = done};
    pool_submit(session->smtpd->pool, &session->job);
}

/* I3 */
static void on_timeout(evutil_socket_t fd, short what, void *arg)
{
    struct inbound *inbound = arg;
    (void)fd;
    (void)what;
    inbound->is_late = true;
    if (!inbound->questions)
        return; /* the pool has it; its return finds is_late */
    drop_questions(inbound);
    lookups_give_up(&inbound->checks.lookups);
    submit(inbound);
}

void inbound_submit(struct session *session)
{
    struct smtpd *smtpd = session->smtpd;
    int64_t wait_ms = smtpd->config->smtp.checks.timeout_ms;
    struct timeval wait = {wait_ms / 1000, wait_ms % 1000 * 1000};
    struct inbound *inbound = mem_alloc(sizeof *inbound);
    session->inbound = inbound;
    inbound->session = session;
    inbound->timer = evtimer_new(smtpd->base, on_timeout, inbound);
    if (inbound->timer)
        (void)evtimer_add(inbound->timer, &wait);
    submit(inbound);
}

const char *inbound_refusal(const struct session *session)
{
    return session->inbound ? session->inbound->refusal : NULL;
}

bool inbound_is_discarded(const struct session *session)
{
    return session->inbound && session->inbound->is_discarded;
}

const struct submission *inbound_submission(const struct session *session, struct slice *bytes)
{
    *bytes = session->inbound->content;
    return &session->inbound->submission;
}

void inbound_drop(struct session *session)
{
    struct inbound *inbound = session->inbound;
    if (!inbound)
        return;
    drop_questions(inbound);
    filter_destroy(&inbound->filter);
    if (inbound->timer)
        event_free(inbound->timer);
    checks_finish(&inbound->checks);
    buf_finish(&inbound->trace);
    buf_finish(&inbound->bytes);
    free(inbound);
    session->inbound = NULL;
}
