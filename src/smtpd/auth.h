/* auth: names and passwords of those who may submit, and the SASL exchange that proves them (libgsasl).
 *   RFC 4616 (PLAIN), LOGIN, 5802 and 7677 (SCRAM-SHA-256)
 *
 * The users' file: a line each, NAME:HASH, "#" begins a comment. HASH is what crypt(3) makes ("$y$…", "$6$…"), or
 * {SCRAM-SHA-256}ITERATIONS,SALT,STOREDKEY,SERVERKEY as `gsasl --mkpasswd` prints it.
 *
 * L1  SCRAM needs a SCRAM hash: it is offered only if every user has one, and PAM none
 * L2  an unknown user costs what a known one costs (always the same one of them), and gets the same answers: the same salt each
 *     time, another one for another name
 * L3  an authorization identity other than the authenticated one is refused
 * L4  no password and no hash reaches a log
 * auth_step() may take long (crypt) and is for a thread of the pool; a session is used by one at a time. */
#ifndef MR_SMTPD_AUTH_H
#define MR_SMTPD_AUTH_H

#include "smtpd/server.h"

struct auth;
struct auth_session;

/* Reads the file (NULL: none); errors name the line. `pam_fd`: whom the file doesn't have, PAM judges (smtpd/pam.h); -1: nobody. */
MUST_USE struct auth *auth_open(const char *file, int pam_fd, struct error *error);
void auth_close(struct auth **auth);
const char *auth_mechanisms(const struct auth *auth); /* as after AUTH in EHLO's answer */

/* `client`: its address, for PAM. */
struct auth_session *auth_begin(const struct auth *auth, struct slice mechanism, const char *client);
/* `response` in base64, absent if the client gave none yet. `out`: the challenge in base64, or the user's name. */
enum server_verdict auth_step(struct auth_session *session, struct slice response, struct buf *out);
void auth_end(struct auth_session **session);

#endif
