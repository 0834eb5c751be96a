#include "cli/run_web.h"

#include "cli/confine.h"
#include "cli/identity.h"
#include "cli/supervise.h"
#include "web/server.h"

#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

bool run_web_is_wanted(const struct config *config)
{
    return config->web.is_on;
}

/* Signals are taken here alone: the server's threads have them blocked. A config with mistakes changes nothing. */
static int wait_for_end(const struct command_options *options, const sigset_t *ends)
{
    for (;;) {
        int number;
        if (sigwait(ends, &number) != 0 || number != SIGHUP)
            return 0;
        if (command_config_is_fine(options))
            return ROLE_RELOAD;
    }
}

int run_web_main(const struct command_options *options)
{
    struct config *config = command_config(options);
    struct error error;
    struct web *web;
    sigset_t ends;
    int code;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGHUP);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    signal(SIGHUP, SIG_DFL); /* sigwait() doesn't see what is ignored */
    signal(SIGPIPE, SIG_IGN);
    (void)umask(027);
    link_leave(&options->link);
    link_leave(&options->pam_link);
    int fd = web_bind(config, &error);
    if (fd < 0 || !identity_become(config, &error) || !web_prepare(config, &error)
        || !confine_gateway(config, &error) || !web_start(config, fd, &web, &error)) {
        code = command_fail("run", EX_CONFIG, "web: %s", error.text);
    } else {
        code = wait_for_end(options, &ends);
        web_stop(&web);
    }
    config_destroy(&config);
    return code;
}
