/* w3c: the events once more, as the W3C extended log that IIS's SMTP service wrote, for the tools that read those.
 *
 * X1  one line for what has to do with mail: a pickup file taken or refused, a recipient's attempt, a connection made or ended;
 *     and one for each command that a client gave the listener (w3c.dialogs). cs-username is OutboundConnectionCommand where
 *     another server took part, the name that a client gave itself at the listener, else "-"
 * X2  cs-method is the command that decided (EHLO, MAIL, RCPT, DATA, QUIT), or PICKUP, DROP, MAILDIR; cs-uri-query its argument
 *     (+TO:<a@b>), sc-status the server's reply, 250 for what was written to disk
 * X3  files are named as IIS's: exYYMMDD.log (daily), exYYMMDDHH, exYYMMWW, exYYMM, extendN.log (by size); nc… and ncsaN.log for
 *     NCSA's form, in… and inetsvN.log for IIS's own; times are UTC; each W3C file, and each start, begins with #Software,
 *     #Version, #Date and #Fields
 * X4  a blank in a field is "+", a control octet "?", and what parts fields in the other forms ("," and quotes) "?": no text of
 *     others makes a field or a line
 * X5  old files are never removed: that is for who keeps them
 * The event log (event.h) owns one and calls it with its mutex held. */
#ifndef MR_OUTCOME_W3C_H
#define MR_OUTCOME_W3C_H

#include "config/w3c.h"
#include "outcome/event.h"

struct w3c_log;
/* NULL without an error: w3c.dir is not set. The folder is made. */
MUST_USE bool w3c_open(const struct config *config, struct w3c_log **ret_log, struct error *error);
void w3c_put(struct w3c_log *log, const struct event *event, int64_t wall_ms); /* buffered */
bool w3c_flush(struct w3c_log *log); /* false: lines were lost */
void w3c_close(struct w3c_log **log);
/* The name of the file that holds that moment; for W3C_BY_SIZE with `number`. */
void w3c_file_name(enum w3c_format format, enum w3c_period period, int64_t wall_ms, unsigned number, char *ret_name, size_t size);

#endif
