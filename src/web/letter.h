/* letter: the mails that the web process writes: from forms, from the API.   RFC 5322, RFC 2045, 2047, 2183, 2231
 *
 * L1  every header value is checked at the last step: a control octet in one of them fails the whole letter (RELIABILITY L1)
 * L2  text is UTF-8 and goes quoted-printable; files go base64, named by RFC 2231
 * L3  the boundary is random and doesn't occur in what it parts
 * L4  Date and Message-ID are the relay's to add
 * Addresses come ready for a header field. Not here: putting it into Pickup (pickup/pickup_writer.h). */
#ifndef MR_WEB_LETTER_H
#define MR_WEB_LETTER_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

struct letter_file { struct slice name, type, content; };

struct letter {
    struct slice from, to, cc, reply_to; /* absent: no such field */
    struct slice subject;
    struct slice text, html;             /* absent: no such part; both: alternatives */
    const struct letter_file *files;
    size_t file_count;
    bool is_auto_reply;                  /* Auto-Submitted: auto-replied */
};

/* name <address>, the name quoted or as encoded-words; address alone if the name is absent or empty. */
struct slice letter_mailbox(struct arena *arena, struct slice name, struct slice address);
MUST_USE bool letter_compose(const struct letter *letter, struct buf *out, struct error *error);

#endif
