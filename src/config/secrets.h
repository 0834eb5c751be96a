/* secrets: passwords and client secrets of routes, read from their files.
 *
 *   password_file = "/etc/mailroot/smarthost.password"   the first line
 *   password_file = "credential:smarthost"               $CREDENTIALS_DIRECTORY/smarthost (systemd's LoadCredential=)
 *
 * H1  a file that is missing, empty, longer than SECRET_SIZE_MAX, with a control byte in its line, or that everybody can read
 *     or change, is an error that names it; its content is in no error
 * H2  read once, before privileges are dropped; forgotten (overwritten) when closed
 * Immutable: any thread. */
#ifndef MR_CONFIG_SECRETS_H
#define MR_CONFIG_SECRETS_H

#include "config/config.h"

enum { SECRET_SIZE_MAX = 4096 };

struct secrets;
MUST_USE struct secrets *secrets_open(const struct config *config, struct error *error);
void secrets_close(struct secrets **secrets);
/* NULL where the route has none. They live as long as `secrets`. */
const char *secrets_password(const struct secrets *secrets, const struct config_route *route);
const char *secrets_client_secret(const struct secrets *secrets, const struct config_route *route);
/* One file's secret, the caller's: secret_free(). NULL with an error. */
MUST_USE char *secret_read(const char *file, struct error *error);
void secret_free(char *secret);

#endif
