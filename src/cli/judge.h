/* judge: what a receiver finds out about our message: reverse DNS, SPF, DKIM and DMARC, by the very checks that the listener makes
 * of strangers (inbound/checks.h), with our own addresses as the client's.
 *
 * The addresses are those of the source that a folder names, else delivery.source, else what the HELO name has in DNS. Behind an
 * address translation they are the translated ones only if DNS or the config says so. */
#ifndef MR_CLI_JUDGE_H
#define MR_CLI_JUDGE_H

#include "config/folder_conf.h"

#include <jansson.h>

enum { JUDGE_ADDRESSES_MAX = 4 };

/* {"verdict": "good" | "weak" | "bad" | "unknown", "from": domain, "addresses": [{"ip", "helo", "ptr", "ptr_name", "spf",
 *  "spf_domain", "dmarc", "dmarc_policy", "dkim": [{"domain", "selector", "result", "reason"}]}], "words": [text]}
 * bad: a receiver that does what the sender's domain asks for refuses it. The caller's. */
json_t *judge_message(const struct config *config, const struct folder_conf *folder, struct slice sender, struct slice message);

#endif
