/* run_smtp: the listener as a role of `mailroot run` (cli/supervise.h, smtpd/smtpd.h). */
#ifndef MR_CLI_RUN_SMTP_H
#define MR_CLI_RUN_SMTP_H

#include "cli/command.h"

bool run_smtp_is_wanted(const struct config *config);
int run_smtp_main(const struct command_options *options);

#endif
