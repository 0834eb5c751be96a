/* supervise: the processes of `mailroot run`, each a role of its own, kept alive.
 *
 *   supervisor ──fork──> relay
 *              ──fork──> …
 *
 * V1  a role that dies is started again after a pause that doubles from 1 s to 60 s and is forgotten after a minute of life
 * V2  TERM and INT are handed on and end all; HUP is handed on, and a role that answers with ROLE_RELOAD starts anew at once,
 *     if the config of then still wants it. It is not handed on while a role of the new config could not start
 * V3  the first role's end for good (0, or a reason that trying again won't mend) ends the others, with its exit code; so
 *     does a reason of that kind from any other role: half of what was asked for is not a service. What had been up and
 *     can't come up again is tried again all the same: a full disk, no descriptors or no memory look like such a reason
 * V4  no role outlives the supervisor (PR_SET_PDEATHSIG)
 * V5  a role that has not ended ten seconds after shutdown_timeout is killed, which costs no mail; the exit code tells
 * A role's main runs as whoever started the program: it binds its sockets, then calls identity_become() (cli/identity.h). */
#ifndef MR_CLI_SUPERVISE_H
#define MR_CLI_SUPERVISE_H

#include "cli/command.h"

enum { ROLE_RELOAD = 10 };

struct role {
    const char *name;
    bool (*is_wanted)(const struct config *config); /* NULL: always */
    /* Whether what it reads before it gives up its rights (keys, passwords) is there; NULL: it reads nothing such. */
    bool (*can_start)(const struct config *config, struct error *error);
    int (*main)(const struct command_options *options); /* in the child; its exit code */
};

/* `roles` ends with a name of NULL. The program's exit code. */
int supervise(const struct role *roles, const struct command_options *options);

#endif
