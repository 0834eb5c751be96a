#include "cli/run_pam.h"

#include "cli/supervise.h"
#include "smtpd/pam.h"

#include <unistd.h>

bool run_pam_is_wanted(const struct config *config)
{
    return config->smtp.listen.count > 0 && config->smtp.pam;
}

/* It stays who it was started as: what PAM reads may be root's alone. */
int run_pam_main(const struct command_options *options)
{
    struct config *config = command_config(options);
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGHUP);
    link_leave(&options->link);
    close(options->pam_link.fds[LINK_LISTENER]);
    int number = pam_serve(options->pam_link.fds[LINK_RELAY], config->smtp.pam, &ends);
    config_destroy(&config);
    return number == SIGHUP ? ROLE_RELOAD : number ? 0 : EX_OSERR;
}
