/* run_rehearse: the folder Pickup/.rehearse as a role of `mailroot run` (cli/supervise.h).
 *
 *   Pickup/.rehearse/NAME  ──rehearsal (cli/rehearsal.h)──>  NAME.verdict.json, NAME.verdict.txt beside it; nothing is sent
 *
 * Z1  the role runs where that folder was there when the relay started; it is made by who runs the relay, with the rights that
 *     users need (mode 1733, the relay's user its owner)
 * Z2  only plain files with one name are read, never through links: a verdict tells of what is in a file
 * Z3  a file is rehearsed when it is closed or renamed in, and again when it is written anew; it stays. One after another
 * Z4  a verdict can be read by everybody who knows its name, as the file that it is about */
#ifndef MR_CLI_RUN_REHEARSE_H
#define MR_CLI_RUN_REHEARSE_H

#include "cli/command.h"

bool run_rehearse_is_wanted(const struct config *config);
int run_rehearse_main(const struct command_options *options);

#endif
