/* sealer: the ARC seal on what came from elsewhere and goes on, with the first RSA key of the dkim section that smtp.checks.arc_seal names.
 *
 * What was found out about the message stands in the Authentication-Results field that the listener put on top of it; its arc= says
 * what the seal says of the chain before it. Where that is missing or temperror, nothing is sealed. */
#ifndef MR_CONFIG_SEALER_H
#define MR_CONFIG_SEALER_H

#include "config/signer.h"

/* False with an error that names the key of the config. */
MUST_USE bool sealer_check(const struct config *config, const struct signer *signer, struct error *error);
/* In place. False with a reason: nothing was changed. */
MUST_USE bool sealer_seal(const struct config *config, const struct signer *signer, struct arena *arena, int64_t time_ms,
                          struct buf *message, size_t *ret_added, struct error *error);

#endif
