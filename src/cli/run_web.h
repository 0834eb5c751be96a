/* run_web: the web process as a role of `mailroot run` (cli/supervise.h): binds web.listen, becomes the user, serves. */
#ifndef MR_CLI_RUN_WEB_H
#define MR_CLI_RUN_WEB_H

#include "cli/command.h"

bool run_web_is_wanted(const struct config *config);
int run_web_main(const struct command_options *options);

#endif
