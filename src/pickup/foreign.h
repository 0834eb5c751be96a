/* foreign: files whose envelope is not in header lines, as other relays' pickup folders take them. Each becomes a file of this
 * folder's own form: X-Sender, X-Receiver, X-EndOfInjectedXHeaders, then the message (message/envelope.h E4).
 *
 * G1  BSMTP begins with HELO, EHLO or MAIL FROM:. Commands as in a session; DATA's text is dot-stuffed by nature and ended by
 *     a lone dot; QUIT, RSET, NOOP and blank lines may follow. A second MAIL behind it: refused, not one message
 * G2  MDaemon RAW begins with `From <a>`; To, CC, ReplyTo, Subject, Header and X-FLAG lines, a blank line, plain text. What
 *     X-FLAG=ATTACH names is a file of the server: refused, never read
 * G3  E-MailRelay: NAME.envelope holds X-MailRelay- lines up to X-MailRelay-End, NAME.content the exact message
 * G4  no envelope is ever looked for in the message behind it
 * Pure. Not here: how the two halves of a pair are claimed (pickup/intake_pair.c). */
#ifndef MR_PICKUP_FOREIGN_H
#define MR_PICKUP_FOREIGN_H

#include "base/buf.h"
#include "base/error.h"
#include "config/config.h"

enum foreign_result { FOREIGN_NOT, FOREIGN_DONE, FOREIGN_BAD };

/* NOT: by `dialect` (enum config_dialect) or evidence it is an ordinary file, nothing is appended. BAD: error says why, with
 * the line. DONE: `ret_dialect` is static text. */
MUST_USE enum foreign_result foreign_translate(struct slice file, int dialect, struct buf *out, const char **ret_dialect,
                                               struct error *error);

/* G3: the two halves. */
MUST_USE bool foreign_join(struct slice envelope, struct slice content, struct buf *out, struct error *error);

/* What the translators share: the next line without its end; one envelope line; the block's end and the message behind it. */
struct slice foreign_line(struct slice *rest);
void foreign_put(struct buf *out, const char *name, struct slice address, struct slice parameters);
void foreign_end_block(struct buf *out);

bool foreign_is_bsmtp(struct slice file);
bool foreign_bsmtp(struct slice file, struct buf *out, struct error *error);
bool foreign_is_raw(struct slice file);
bool foreign_raw(struct slice file, struct buf *out, struct error *error);

#endif
