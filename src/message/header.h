/* header: a message's header section, cut into fields.   RFC 5322 2.2, 3.6; RFC 6532
 *
 * Every octet of the file belongs to exactly one of: the mbox line, a field's raw text, the blank line,
 * the body; so that a relay can drop or add fields and keep all other bytes as they were.
 *
 * H1  lines end in CRLF or LF, mixed as they come; a lone CR does not end a line
 * H2  a field is name ":" value, continued by lines that begin with SP or HT; blanks between name and
 *     colon are taken (obs-optional) but not part of the name
 * H3  the section ends at the first empty line, at the end of the file, or (as Postfix does) before a
 *     line that cannot be a field: then body_offset is that line's offset and has_separator is false
 * H4  slices point into the scanned bytes; arrays live in the arena
 * Not here: what a field means (message/envelope.h), addresses (message/address.h). */
#ifndef MR_MESSAGE_HEADER_H
#define MR_MESSAGE_HEADER_H

#include "base/arena.h"
#include "base/error.h"

struct header_field {
    struct slice name;  /* as written, without blanks before the colon */
    struct slice value; /* after the colon, folds and inner line ends included, last line end not */
    struct slice raw;   /* the whole field with its last line end */
    size_t line;        /* 1-based line in the file */
};

struct header {
    struct header_field *fields;
    size_t count;
    struct slice mbox_line; /* a leading "From x date" or ">From x" line, absent if none */
    size_t body_offset;     /* first octet of the body in the file */
    size_t body_line;       /* 1-based line of it */
    bool has_separator;     /* an empty line parts header and body */
};

struct header_limits {
    size_t size_max;      /* octets of the whole section */
    size_t count_max;     /* fields */
    size_t receivers_max; /* X-Receiver fields, which are envelope: so many of them count for neither of the others */
};

/* False with a reason (line and what was expected) for: nothing but blank lines, leading blank line, UTF-16
 * or a byte order mark before a wide text, NUL octets in the header, no field at all, over a limit.
 * A UTF-8 byte order mark in front is skipped. Linear in the octets looked at; never reads the body. */
MUST_USE bool header_scan(struct arena *arena, struct slice file, const struct header_limits *limits,
                          struct header *ret_header, struct error *error);

/* The first field of that name at or after index `from`; NULL if there is none. Names match without case. */
const struct header_field *header_find(const struct header *header, struct slice name, size_t from);
size_t header_count(const struct header *header, struct slice name);

/* The value unfolded (line ends removed, RFC 5322 2.2.3) and trimmed. */
struct slice header_unfold(struct arena *arena, struct slice value);

#endif
