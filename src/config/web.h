/* web: what the section web { … } must hold together. Private to src/config. */
#ifndef MR_CONFIG_WEB_H
#define MR_CONFIG_WEB_H

#include "config/config.h"

/* False with the key in `ret_key` and what is wrong: an address that is none, the network without TLS, half a TLS pair, a token
 * that is no NAME:SCOPES:SHA256. */
MUST_USE bool web_check(const struct config *config, const char **ret_key, struct error *error);

#endif
