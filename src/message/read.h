/* read: a whole message as a reader sees it: decoded subject, people, texts and files.   RFC 2045 to 2047, 2183, 2231, 2557
 *
 * R1  every text comes out as well-formed UTF-8 (charset.h)
 * R2  the first text/plain and the first text/html leaf that aren't attachments are the texts; every other leaf is a file
 * R3  a broken part is read as far as it goes, never refused; nesting deeper than 30 and parts beyond 1000 are files as they are
 * R4  slices point into the arena or into `raw`
 * Linear time in the octets times the nesting. Pure. */
#ifndef MR_MESSAGE_READ_H
#define MR_MESSAGE_READ_H

#include "base/arena.h"
#include "base/error.h"

struct read_file {
    struct slice name;               /* decoded; empty if none */
    struct slice type;               /* "image/png", lower case */
    struct slice bytes;              /* decoded */
    struct slice id, location, base; /* empty if none */
    bool is_message;                 /* message/rfc822 */
};

struct read_person {
    enum read_role { READ_FROM, READ_TO, READ_CC, READ_RECEIVER } role;
    struct slice name, address;
};

struct read_message {
    struct slice subject, plain, html; /* empty if none */
    struct slice id, location, base;   /* of the message */
    struct read_person *people;
    size_t person_count;
    struct read_file *files;
    size_t file_count;
    int64_t date_ms;                   /* 0 if none that can be read */
    int importance;                    /* 0, 1, 2 */
};

/* False only where there is no header at all. */
MUST_USE bool read_message(struct arena *arena, struct slice raw, struct read_message *ret_message, struct error *error);

/* RFC 2047 words in an unfolded value, and clean UTF-8 of the rest. */
struct slice read_words(struct arena *arena, struct slice value);
/* RFC 5322 3.3 as Unix milliseconds; 0 if it is none. */
int64_t read_date(struct slice value);

#endif
