#include "route/unbound.h"

#include "base/hash.h"
#include "base/mem.h"
#include "os/timer.h"
#include "route/dns.h"

#include <event2/event.h>
#include <limits.h>
#include <stdlib.h>

enum { AGAIN_MS_MIN = 5000, AGAIN_MS_MAX = 60000, FORGOTTEN = -1 };

struct question {
    struct unbound *unbound;
    ub_callback_type fn;          /* NULL: cancelled, and its answer is on the way */
    void *arg;
    char *name;
    int type, id, async_id;       /* ours; libunbound's, of the context that knows it */
    struct ub_result *held;       /* bogus, and not yet believed (V2) */
    UT_hash_handle hh;
};

struct unbound {
    struct event_base *base;
    const struct config *config;
    struct ub_ctx *context;
    struct ub_ctx *outrun;        /* the one that validated (V3); nobody hears it any more */
    struct event *readable;
    struct timer *timer, *soon;
    struct question *questions;   /* by id */
    int last_id;
    bool is_validating;           /* as the context was set up */
    bool is_probing;
    int probe_id;
    int64_t again_ms;
    unbound_problem_fn *problem_fn;
    void *problem_arg;
};

static void probe(struct unbound *unbound);

/* ---- questions ---- */

static void question_free(struct question *question)
{
    HASH_DEL(question->unbound->questions, question);
    ub_resolve_free(question->held);
    free(question->name);
    free(question);
}

static void conclude(struct question *question, int problem, struct ub_result *result)
{
    ub_callback_type fn = question->fn;
    void *arg = question->arg;
    question->held = NULL;
    question_free(question);
    if (fn)
        fn(arg, problem, result);
    else
        ub_resolve_free(result);
}

static void on_answer(void *arg, int problem, struct ub_result *result)
{
    struct question *question = arg;
    struct unbound *unbound = question->unbound;
    bool is_due = dns_is_probe_due(unbound->config), is_in_doubt = is_due || !dns_is_validating(unbound->config);
    if (!problem && result && result->bogus && question->fn && unbound->is_validating && is_in_doubt) {
        question->held = result;
        if (is_due)
            probe(unbound);
        else
            timer_set(unbound->soon, -1); /* another resolver of this process has found out */
    } else {
        conclude(question, problem, result);
    }
}

static bool ask_context(struct question *question)
{
    return ub_resolve_async(question->unbound->context, question->name, question->type, DNS_CLASS_IN, question, on_answer,
                            &question->async_id) == 0;
}

static bool ask(void *arg, const char *name, int type, ub_callback_type fn, void *fn_arg, int *ret_id)
{
    struct unbound *unbound = arg;
    struct question *question = mem_alloc(sizeof *question);
    unbound->last_id = unbound->last_id < INT_MAX ? unbound->last_id + 1 : 1; /* none of two thousand million is still open */
    *question = (struct question){.unbound = unbound, .fn = fn, .arg = fn_arg, .name = mem_copy_text(name), .type = type,
                                  .id = unbound->last_id};
    HASH_ADD_INT(unbound->questions, id, question);
    if (!ask_context(question)) {
        question_free(question);
        return false;
    }
    *ret_id = question->id;
    return true;
}

static void cancel(void *arg, int id)
{
    struct unbound *unbound = arg;
    struct question *question;
    HASH_FIND_INT(unbound->questions, &id, question);
    if (question && (question->held || ub_cancel(unbound->context, question->async_id) == 0))
        question_free(question);
    else if (question)
        question->fn = NULL; /* nobody hears of it any more */
}

struct resolver unbound_resolver(struct unbound *unbound)
{
    return (struct resolver){ask, cancel, unbound};
}

/* ---- the context ---- */

static void on_readable(int fd, short what, void *arg)
{
    struct unbound *unbound = arg;
    (void)fd;
    (void)what;
    (void)ub_process(unbound->context); /* answers come to their callbacks */
}

static void close_context(struct ub_ctx *context, struct event *readable)
{
    if (readable)
        event_free(readable);
    if (context)
        ub_ctx_delete(context);
}

/* On failure the one before is still there. */
static bool open_context(struct unbound *unbound, struct error *error)
{
    struct ub_ctx *context = dns_open_unprobed(unbound->config, error);
    if (!context)
        return false;
    struct event *readable = event_new(unbound->base, ub_fd(context), EV_READ | EV_PERSIST, on_readable, unbound);
    if (!readable || event_add(readable, NULL) != 0) {
        close_context(context, readable);
        return error_set(error, "DNS: can't watch libunbound");
    }
    if (unbound->readable)
        event_free(unbound->readable);
    unbound->outrun = unbound->context; /* its thread is waited for when it is deleted: not while mail waits. There is one at most */
    unbound->context = context;
    unbound->readable = readable;
    unbound->is_validating = dns_is_validating(unbound->config);
    return true;
}

/* The first that no context knows any more; NULL. */
static struct question *find_forgotten(const struct unbound *unbound)
{
    struct question *question = unbound->questions;
    while (question && question->async_id != FORGOTTEN)
        question = question->hh.next;
    return question;
}

/* V3 */
static bool renew_context(struct unbound *unbound)
{
    struct error error;
    struct question *question;
    if (!open_context(unbound, &error))
        return false;
    for (question = unbound->questions; question; question = question->hh.next) {
        ub_resolve_free(question->held);
        question->held = NULL;
        question->async_id = FORGOTTEN;
    }
    while ((question = find_forgotten(unbound))) /* a callback may ask and cancel others */
        if (!question->fn)
            question_free(question);
        else if (!ask_context(question))
            conclude(question, UB_SERVFAIL, NULL);
    return true;
}

/* ---- the probe ---- */

static struct question *find_held(const struct unbound *unbound)
{
    struct question *question = unbound->questions;
    while (question && !question->held)
        question = question->hh.next;
    return question;
}

/* The probe told something, or nothing in its time. */
static void settle(struct unbound *unbound)
{
    struct question *question;
    bool is_settled = !dns_is_probe_due(unbound->config);
    if (is_settled && unbound->is_validating != dns_is_validating(unbound->config))
        is_settled = renew_context(unbound);
    if (is_settled && unbound->problem_fn && dns_problem(unbound->config)) {
        unbound->problem_fn(unbound->problem_arg, dns_problem(unbound->config));
        unbound->problem_fn = NULL;
    }
    while ((question = find_held(unbound)))
        conclude(question, 0, question->held);
    if (is_settled)
        return;
    timer_set(unbound->timer, unbound->again_ms);
    unbound->again_ms = unbound->again_ms * 2 > AGAIN_MS_MAX ? AGAIN_MS_MAX : unbound->again_ms * 2;
}

static void on_soon(void *arg)
{
    settle(arg);
}

static void on_probed(void *arg, int problem, struct ub_result *result)
{
    struct unbound *unbound = arg;
    if (!problem)
        dns_learn(result);
    ub_resolve_free(result);
    if (!unbound->is_probing)
        return;
    unbound->is_probing = false;
    timer_stop(unbound->timer);
    timer_set(unbound->soon, -1); /* its context, which calls here, may have to go */
}

static void probe(struct unbound *unbound)
{
    if (unbound->is_probing)
        return;
    unbound->is_probing = ub_resolve_async(unbound->context, ".", DNS_NS, DNS_CLASS_IN, unbound, on_probed, &unbound->probe_id) == 0;
    timer_set(unbound->timer, dns_probe_ms(unbound->config));
}

static void on_timer(void *arg)
{
    struct unbound *unbound = arg;
    if (!unbound->is_probing && dns_is_probe_due(unbound->config)) {
        probe(unbound);
        return;
    }
    if (unbound->is_probing)
        (void)ub_cancel(unbound->context, unbound->probe_id);
    unbound->is_probing = false;
    settle(unbound);
}

/* ---- life ---- */

void unbound_watch(struct unbound *unbound, unbound_problem_fn *fn, void *arg)
{
    const char *problem = dns_problem(unbound->config);
    unbound->problem_fn = problem ? NULL : fn;
    unbound->problem_arg = arg;
    if (problem)
        fn(arg, problem);
}

struct unbound *unbound_create(struct event_base *base, const struct config *config, struct error *error)
{
    struct unbound *unbound = mem_alloc(sizeof *unbound);
    *unbound = (struct unbound){.base = base, .config = config, .again_ms = AGAIN_MS_MIN};
    unbound->timer = timer_make(base, on_timer, unbound);
    unbound->soon = timer_make(base, on_soon, unbound);
    if (!open_context(unbound, error)) {
        unbound_destroy(&unbound);
        return NULL;
    }
    if (dns_is_probe_due(config))
        probe(unbound);
    return unbound;
}

void unbound_destroy(struct unbound **unbound)
{
    struct unbound *u = *unbound;
    struct question *question, *next;
    if (!u)
        return;
    close_context(u->context, u->readable); /* no callback behind this */
    close_context(u->outrun, NULL);
    HASH_ITER(hh, u->questions, question, next)
        question_free(question);
    timer_free(&u->timer);
    timer_free(&u->soon);
    free(u);
    *unbound = NULL;
}
