/* compose: a message made of its parts, as bytes.   RFC 5322, 2045, 2046, 2047, 2183, 2231, 2387, 2557, 8058, 5545
 *
 *   mixed ( alternative ( plain, related ( html, inline… ), calendar ), attachment… )      each level only where needed
 *
 * C1  text is UTF-8 in and out: headers are encoded-words where they aren't plain ASCII (at most 75 octets each, whole
 *     characters), bodies quoted-printable or base64; file names RFC 2231, with an encoded-word in Content-Type's `name`
 *     for readers that know no better
 * C2  no line is over 998 octets; header lines aim at 76 and are folded only at white space or between encoded-words
 * C3  a control octet in a header value, parameter or file name, or ill-formed UTF-8 anywhere, is refused: nothing that
 *     a caller passes can begin a line of the header
 * C4  no body line begins with a dot, so that no pickup folder's dot rule applies
 * C5  a boundary is random and compared with every part that is written as it is
 * C6  uuencoded attachments stand in the plain text itself, and only if that is the whole message; all others are base64
 * C7  Bcc is never written
 * Pure: time and randomness are arguments. Not here: who receives it (pickup/pickup_writer.h). */
#ifndef MR_MESSAGE_COMPOSE_H
#define MR_MESSAGE_COMPOSE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

#include "message/address.h"

enum compose_kind { COMPOSE_ATTACHED, COMPOSE_INLINE, COMPOSE_UUENCODED, COMPOSE_MESSAGE };

struct compose_file {
    enum compose_kind kind;
    struct slice name;     /* shown to the reader; absent: none */
    struct slice bytes;
    struct slice type;     /* "image/png"; absent: by the name's ending */
    struct slice id;       /* Content-ID without brackets; absent: none */
    struct slice location, base; /* Content-Location, Content-Base; absent: none */
};

struct compose_field { struct slice name, value; };

struct compose {
    const struct address_list *from, *to, *cc; /* NULL: no such field */
    struct slice subject;                      /* absent: no field */
    const struct compose_field *fields;        /* further fields, in order */
    size_t field_count;
    struct slice plain, html, calendar;        /* absent: no such part; with none of them plain is empty */
    struct slice calendar_method;              /* "REQUEST" */
    struct slice location, base;               /* of the body */
    const struct compose_file *files;
    size_t file_count;
    int importance;                            /* 0 low, 1 normal, 2 high */
    int64_t time_ms;                           /* Date, UTC */
    unsigned char random[16];                  /* Message-ID and boundaries */
};

/* Appends to `out`; false with a reason (C3) and `out` in an unknown state. Arena: for working memory. */
MUST_USE bool compose_message(struct arena *arena, const struct compose *compose, struct buf *out, struct error *error);
/* Octets that compose_message() is sure not to exceed. */
size_t compose_size_max(const struct compose *compose);

/* The rules by themselves, for callers that check early. */
MUST_USE bool compose_is_clean(struct slice value);      /* C3: well-formed UTF-8 without control characters but tab */
MUST_USE bool compose_is_field_name(struct slice name);  /* RFC 5322 3.6.8, and none that the message's structure needs */
bool compose_is_address_field(struct slice name);        /* Reply-To and the like: addresses, not text */

#endif
