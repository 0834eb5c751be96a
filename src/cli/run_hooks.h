/* run_hooks: webhooks and traces as a role of `mailroot run` (cli/supervise.h): reads their secrets, becomes the user, posts (outcome/webhook.h, outcome/traces.h). */
#ifndef MR_CLI_RUN_HOOKS_H
#define MR_CLI_RUN_HOOKS_H

#include "cli/command.h"

bool run_hooks_is_wanted(const struct config *config);
int run_hooks_main(const struct command_options *options);

#endif
