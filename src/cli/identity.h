/* identity: the folders of a Mailroot, and whom a role of `mailroot run` becomes.
 * Started as root the folders become the config's user's, and so does the process, before anything foreign is read. */
#ifndef MR_CLI_IDENTITY_H
#define MR_CLI_IDENTITY_H

#include "config/config.h"

MUST_USE bool identity_make_folders(const struct config *config, struct error *error);
MUST_USE bool identity_become(const struct config *config, struct error *error);
void identity_raise_limits(void); /* open files, as many as the system lets */

#endif
