/* run_pam: the process that asks PAM for the listener, as a role of `mailroot run` (cli/supervise.h, smtpd/pam.h). */
#ifndef MR_CLI_RUN_PAM_H
#define MR_CLI_RUN_PAM_H

#include "cli/command.h"

bool run_pam_is_wanted(const struct config *config);
int run_pam_main(const struct command_options *options);

#endif
