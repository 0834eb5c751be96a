#include "cli/supervise.h"

#include "base/buf.h"
#include "os/clock.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAUSE_MAX_S = 60, ROLES_MAX = 8, STUCK_MS = 10 * 1000 };

struct child {
    const struct role *role;
    pid_t pid;              /* 0 = not running */
    int64_t started_ms;
    int64_t start_at_ms;    /* when it is to start (again); -1 = not at all */
    int pause_s;
    bool is_again;          /* it died and was started again: what ends it now may pass by */
};

struct supervisor {
    const struct command_options *options;
    struct child children[ROLES_MAX];
    size_t count;
    sigset_t watched, outside; /* what is waited for; the mask that children get back */
    int64_t shutdown_ms;       /* as the config has it */
    bool is_ending;
    int64_t kill_at_ms;        /* V5; monotonic */
    int exit_code;
};

static bool start(struct supervisor *supervisor, struct child *child)
{
    pid_t parent = getpid();
    child->started_ms = clock_mono_ms();
    child->start_at_ms = -1;
    child->pid = fork();
    if (child->pid < 0) {
        child->pid = 0;
        supervisor->exit_code = command_fail("run", EX_OSERR, "fork: %s", strerrordesc_np(errno));
        return false;
    }
    if (child->pid == 0) {
        signal(SIGHUP, SIG_IGN); /* until its loop listens */
        sigprocmask(SIG_SETMASK, &supervisor->outside, NULL);
        if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || getppid() != parent)
            _exit(EX_OSERR);
        exit(child->role->main(supervisor->options));
    }
    return true;
}

static void tell_all(const struct supervisor *supervisor, int number)
{
    for (size_t i = 0; i < supervisor->count; i++)
        if (supervisor->children[i].pid > 0)
            (void)kill(supervisor->children[i].pid, number);
}

static void end(struct supervisor *supervisor, int exit_code)
{
    if (!supervisor->is_ending) {
        supervisor->exit_code = exit_code;
        supervisor->kill_at_ms = clock_mono_ms() + supervisor->shutdown_ms + STUCK_MS;
    }
    supervisor->is_ending = true;
    tell_all(supervisor, SIGTERM);
}

/* V5: milliseconds until that has to be. */
static int64_t kill_stuck(struct supervisor *supervisor)
{
    int64_t left_ms = supervisor->kill_at_ms - clock_mono_ms();
    if (left_ms > 0)
        return left_ms;
    for (size_t i = 0; i < supervisor->count; i++)
        if (supervisor->children[i].pid > 0)
            (void)command_fail("run", 0, "the %s does not end: killed, its mail is in the queue", supervisor->children[i].role->name);
    tell_all(supervisor, SIGKILL);
    supervisor->kill_at_ms += STUCK_MS;
    return STUCK_MS;
}

/* The config as it is now; NULL, and said, if it can't be read. */
static struct config *read_config(const struct supervisor *supervisor)
{
    const struct command_options *options = supervisor->options;
    struct buf report = {0};
    struct config *config = config_load(options->config_file, options->settings, options->setting_count, &report);
    if (!config)
        (void)fputs(buf_text(&report), stderr);
    buf_finish(&report);
    return config;
}

static bool is_wanted(const struct role *role, const struct config *config)
{
    return !role->is_wanted || role->is_wanted(config);
}

static void choose_roles(struct supervisor *supervisor, const struct config *config)
{
    supervisor->shutdown_ms = config->shutdown_ms;
    for (size_t i = 0; i < supervisor->count; i++) {
        struct child *child = &supervisor->children[i];
        if (!is_wanted(child->role, config))
            child->start_at_ms = -1;
        else if (child->pid == 0 && child->start_at_ms < 0)
            child->start_at_ms = 0;
    }
}

/* Which roles the config as it is now wants. A config that can't be read changes nothing (V2). */
static bool look_at_config(struct supervisor *supervisor)
{
    struct config *config = read_config(supervisor);
    bool is_fine = config != NULL;
    if (config)
        choose_roles(supervisor, config);
    config_destroy(&config);
    return is_fine;
}

/* The roles look at the config themselves and say what is wrong with it; what only root may read, they can't. */
static bool can_start(const struct supervisor *supervisor, const struct config *config)
{
    struct error error;
    for (size_t i = 0; i < supervisor->count; i++) {
        const struct role *role = supervisor->children[i].role;
        if (role->can_start && is_wanted(role, config) && !role->can_start(config, &error)) {
            (void)command_fail("run", 0, "the old config stays: %s", error.text);
            return false;
        }
    }
    return true;
}

static void reload(struct supervisor *supervisor)
{
    struct config *config = read_config(supervisor);
    if (!config || can_start(supervisor, config)) {
        tell_all(supervisor, SIGHUP);
        if (config)
            choose_roles(supervisor, config); /* a role that is wanted from now on has nobody to answer for it */
    }
    config_destroy(&config);
}

static bool is_final(int code)
{
    return code == EX_CONFIG || code == EX_USAGE;
}

static void ended(struct supervisor *supervisor, struct child *child, int code)
{
    child->pid = 0;
    if (supervisor->is_ending) {
        bool is_fine = code == ROLE_RELOAD || code == 128 + SIGTERM; /* told before its loop listened */
        if (child == supervisor->children && supervisor->exit_code == 0)
            supervisor->exit_code = is_fine ? 0 : code;
        return;
    }
    if (code == ROLE_RELOAD) {
        child->is_again = false;
        if (!look_at_config(supervisor))
            child->start_at_ms = 0; /* it says itself what is wrong */
        return;
    }
    if ((is_final(code) && !child->is_again) || (code == 0 && child == supervisor->children)) {
        end(supervisor, code);
        return;
    }
    int64_t now_ms = clock_mono_ms();
    if (now_ms - child->started_ms > 1000L * PAUSE_MAX_S || child->pause_s == 0)
        child->pause_s = 1;
    (void)command_fail("run", 0, "the %s ended (%d); it starts again in %d s", child->role->name, code, child->pause_s);
    child->start_at_ms = now_ms + 1000L * child->pause_s;
    child->is_again = true;
    child->pause_s = child->pause_s * 2 > PAUSE_MAX_S ? PAUSE_MAX_S : child->pause_s * 2;
}

static void reap(struct supervisor *supervisor)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (size_t i = 0; i < supervisor->count; i++)
            if (supervisor->children[i].pid == pid)
                ended(supervisor, &supervisor->children[i],
                      WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

static void on_signal(struct supervisor *supervisor, int number)
{
    if (number == SIGCHLD) {
        reap(supervisor);
    } else if (number == SIGHUP) {
        reload(supervisor);
    } else {
        end(supervisor, 0);
        tell_all(supervisor, number);
    }
}

/* Starts what is due; milliseconds to the next one, -1 if there is none. */
static int64_t start_due(struct supervisor *supervisor)
{
    int64_t next_ms = -1;
    for (size_t i = 0; i < supervisor->count && !supervisor->is_ending; i++) {
        struct child *child = &supervisor->children[i];
        if (child->pid > 0 || child->start_at_ms < 0)
            continue;
        int64_t left_ms = child->start_at_ms - clock_mono_ms();
        if (left_ms <= 0 && !start(supervisor, child))
            end(supervisor, EX_OSERR);
        else if (left_ms > 0 && (next_ms < 0 || left_ms < next_ms))
            next_ms = left_ms;
    }
    return next_ms;
}

static bool is_any_alive(const struct supervisor *supervisor)
{
    for (size_t i = 0; i < supervisor->count; i++)
        if (supervisor->children[i].pid > 0)
            return true;
    return false;
}

static void watch_signals(struct supervisor *supervisor)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD};
    sigemptyset(&supervisor->watched);
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        sigaddset(&supervisor->watched, numbers[i]);
    signal(SIGCHLD, SIG_DFL); /* ignored, it would take the exit codes away */
    sigprocmask(SIG_BLOCK, &supervisor->watched, &supervisor->outside);
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        sigdelset(&supervisor->outside, numbers[i]);
}

int supervise(const struct role *roles, const struct command_options *options)
{
    struct supervisor supervisor = {.options = options};
    for (const struct role *role = roles; role->name; role++) {
        CHECK(supervisor.count < ROLES_MAX);
        supervisor.children[supervisor.count++] = (struct child){.role = role, .start_at_ms = -1};
    }
    watch_signals(&supervisor);
    if (!look_at_config(&supervisor))
        return EX_CONFIG;
    for (;;) {
        int64_t next_ms = start_due(&supervisor);
        if (supervisor.is_ending && !is_any_alive(&supervisor))
            return supervisor.exit_code;
        if (supervisor.is_ending)
            next_ms = kill_stuck(&supervisor);
        struct timespec wait = {next_ms / 1000, next_ms % 1000 * 1000000};
        int number = next_ms < 0 ? sigwaitinfo(&supervisor.watched, NULL)
                                 : sigtimedwait(&supervisor.watched, NULL, &wait);
        if (number > 0)
            on_signal(&supervisor, number);
    }
}
