/* smtpd: the listener's process: one loop for all sessions, a pool of threads for what is durable or slow.
 *
 *   client ─> session ─bytes─> server (pure) ─content─> pool: write, fsync, rename, fsync of Pickup ─> 250
 *
 * It writes pickup files and nothing else; the relay takes them from there. ETRN alone asks the relay for something, through
 * the link that the supervisor made (os/link.h), and so goes what it has to say of its clients to the relay's log (tell.c).
 * Complaints about itself go to stderr, a line each, with the client's address. What became of a message is in the relay's events, under the name that the 250 says.
 *
 * O1  smtpd_open() does what may need rights (sockets, users' file, TLS key) and reads nothing from the network
 * O2  a slow client holds up nobody: a session whose output is not read is not read from either; one that is idle, or slower
 *     than 500 octets a second in a message, ends with 421
 * O3  at TERM the sockets close, idle sessions end with 421, messages under way get shutdown_timeout */
#ifndef MR_SMTPD_SMTPD_H
#define MR_SMTPD_SMTPD_H

#include "config/config.h"
#include "os/link.h"

struct smtpd;

/* Whether the listener's settings can be read; opens nothing. */
MUST_USE bool smtpd_check(const struct config *config, struct error *error);
/* `pam`: to the process that asks PAM (smtpd/pam.h). */
MUST_USE struct smtpd *smtpd_open(const struct config *config, const struct link_pair *link, const struct link_pair *pam,
                                  struct error *error);
enum smtpd_end { SMTPD_ENDED, SMTPD_RELOADS };
typedef bool smtpd_reload_fn(void *arg); /* HUP: whether the config as it is now is without mistakes */
/* Once the user is the one it will stay, before a sandbox is entered. */
MUST_USE bool smtpd_open_folder(struct smtpd *smtpd, struct error *error);
/* Serves until TERM or INT, or a HUP that `may_reload` agrees to. False if it can't start. */
MUST_USE bool smtpd_run(struct smtpd *smtpd, smtpd_reload_fn *may_reload, void *arg, enum smtpd_end *ret_end,
                        struct error *error);
void smtpd_close(struct smtpd **smtpd);

#endif
