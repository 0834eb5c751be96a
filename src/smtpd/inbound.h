/* inbound: a message that is all there waits here for what is found out about it, before it is stored and answered.
 *
 *   SERVER_STORE ─> pool: inbound/checks.h ─> questions to DNS ─> pool again … ─> verdict ─> filters ─> storage, or a refusal
 *
 * I1  it is for messages that are held whole (server.h is_held): those of strangers, or everybody's (smtp.checks.everybody)
 * I2  nothing here holds up another session: hashing is the pool's, questions are libunbound's, on the loop
 * I3  after smtp.checks.timeout what isn't answered is temperror, and the mail goes on
 * I5  filters (smtpd/filter.h) come last, see the message as it came, and may change what is stored
 * I4  held octets of all sessions stay below smtp.checks.memory; who would go beyond is told 452 */
#ifndef MR_SMTPD_INBOUND_H
#define MR_SMTPD_INBOUND_H

#include "smtpd/smtpd_private.h"

/* What the process needs for it: DNS, the public suffix list. Nothing if no check is wanted. */
bool inbound_is_wanted(const struct config *config);
MUST_USE bool inbound_open(struct smtpd *smtpd, struct error *error);
void inbound_close(struct smtpd *smtpd);

/* After each feeding: counts what the session holds, and ends content that is too much (I4). */
void inbound_account(struct session *session);
void inbound_submit(struct session *session); /* ends in storage_submit(), or in session_continue() with a refusal */
/* NULL: it may be stored. */
const char *inbound_refusal(const struct session *session);
bool inbound_is_discarded(const struct session *session); /* a filter wants it taken and thrown away */
/* What is stored instead of what the server has. */
const struct submission *inbound_submission(const struct session *session, struct slice *bytes);
void inbound_drop(struct session *session);

#endif
