/* confine: the sandbox of each role (sandbox/sandbox.h), with the folders and files that the config names.
 * Said on standard error where the kernel has no such thing; `sandbox = false` in the config does without. */
#ifndef MR_CLI_CONFINE_H
#define MR_CLI_CONFINE_H

#include "config/config.h"

MUST_USE bool confine_relay(const struct config *config, struct error *error);
MUST_USE bool confine_listener(const struct config *config, struct error *error); /* it can make files in Pickup */
MUST_USE bool confine_gateway(const struct config *config, struct error *error); /* and read Log, pages, change Badmail */

MUST_USE bool confine_lab(const struct config *config, const char *dir, struct error *error); /* the same, and no network */
MUST_USE bool confine_rehearsal(const struct config *config, const char *dir, struct error *error); /* changes that folder alone */
MUST_USE bool confine_hooks(const struct config *config, struct error *error); /* reads Log, keeps Hooks, connects to whom the config names */

#endif
