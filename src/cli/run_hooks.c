#include "cli/run_hooks.h"

#include "cli/confine.h"
#include "cli/identity.h"
#include "cli/supervise.h"
#include "os/file.h"
#include "os/loop.h"
#include "outcome/traces.h"
#include "outcome/webhook.h"

#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

struct run_hooks {
    const struct command_options *options;
    struct event_base *base;
    struct event *events[3];
    int exit_code;
};

bool run_hooks_is_wanted(const struct config *config)
{
    return config->hook_count > 0 || config_has_traces(config);
}

static void tell(const char *text)
{
    (void)command_fail("run", 0, "%s", text);
}

static void on_end(evutil_socket_t number, short what, void *arg)
{
    struct run_hooks *run = arg;
    (void)number;
    (void)what;
    event_base_loopbreak(run->base);
}

/* A config with mistakes changes nothing. */
static void on_reload(evutil_socket_t number, short what, void *arg)
{
    struct run_hooks *run = arg;
    (void)number;
    (void)what;
    if (!command_config_is_fine(run->options))
        return;
    run->exit_code = ROLE_RELOAD;
    event_base_loopbreak(run->base);
}

static bool start_loop(struct run_hooks *run, struct error *error)
{
    static const struct { int number; event_callback_fn fn; } signals[] = {{SIGTERM, on_end}, {SIGINT, on_end}, {SIGHUP, on_reload}};
    run->base = loop_create(error);
    for (size_t i = 0; run->base && i < COUNT_OF(signals); i++) {
        run->events[i] = evsignal_new(run->base, signals[i].number, signals[i].fn, run);
        if (!run->events[i] || event_add(run->events[i], NULL) != 0)
            return error_set(error, "can't watch signals");
    }
    return run->base != NULL;
}

int run_hooks_main(const struct command_options *options)
{
    struct config *config = command_config(options);
    struct run_hooks run = {.options = options};
    struct error error;
    char folder[4200];
    (void)snprintf(folder, sizeof folder, "%s/Hooks", config->root);
    link_leave(&options->link);
    link_leave(&options->pam_link);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)umask(027);
    struct webhooks *hooks = webhooks_open(config, &error);
    struct traces *traces = hooks && config_has_traces(config) ? traces_open(config, &error) : NULL;
    bool is_open = hooks && (traces || !config_has_traces(config));
    if (is_open && file_make_folder(folder, 0750, &error) && identity_become(config, &error) && confine_hooks(config, &error)
        && start_loop(&run, &error) && webhooks_start(hooks, run.base, tell, &error)
        && (!traces || traces_start(traces, run.base, tell, &error))) {
        if (!loop_run(run.base, &error))
            run.exit_code = command_fail("run", EX_TEMPFAIL, "hooks: %s", error.text);
    } else {
        run.exit_code = command_fail("run", EX_CONFIG, "%s", error.text);
    }
    traces_close(&traces);
    webhooks_close(&hooks);
    for (size_t i = 0; i < COUNT_OF(run.events); i++)
        if (run.events[i])
            event_free(run.events[i]);
    if (run.base)
        event_base_free(run.base);
    libevent_global_shutdown();
    config_destroy(&config);
    return run.exit_code;
}
