/* What `mailroot check` looks at beside the config's own words. */
#ifndef MR_CLI_CHECK_H
#define MR_CLI_CHECK_H

#include "config/config.h"

/* What makes other hosts refuse our mail: the HELO name without an address, addresses whose PTR is missing or names
 * another host (RFC 1912 2.1), a sender domain without SPF (RFC 7208) or without a way for bounces to come back. Prints a
 * line for each; how many. Asks DNS, for three seconds at most. */
int check_dns(const struct config *config);

struct signer;
/* Compares each DKIM key with what selector._domainkey.domain says (RFC 6376 3.6). Prints a line for each that does not fit;
 * how many. */
int check_dkim(const struct config *config, const struct signer *signer);
/* Every folder.conf of Pickup; `signer` NULL: its keys are not looked for. False: one has mistakes, which were said. */
MUST_USE bool check_folders(const struct config *config, const struct signer *signer);

#endif
