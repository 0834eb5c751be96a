/* What the files of the envelope share: the state of one reading. */
#ifndef MR_MESSAGE_ENVELOPE_PRIVATE_H
#define MR_MESSAGE_ENVELOPE_PRIVATE_H

#include "message/envelope.h"

struct reading {
    struct arena *arena;
    struct slice file;
    const struct header *header;
    const struct envelope_options *options;
    struct envelope *envelope;
    size_t recipient_capacity, rejected_capacity;
    size_t leading_count;   /* fields of the leading run of X- and trace lines (E4) */
    size_t x_end;           /* octets of the injected block, SIZE_MAX if not said */
    bool has_sender;
    struct error *error;
};

/* Both false only when there are too many recipients. */
bool reading_add(struct reading *reading, struct address *address, struct slice orcpt, unsigned notify);
bool reading_reject(struct reading *reading, struct slice text, const char *reason, size_t line);

/* xlines.c: the envelope lines. False with a reason. */
bool xlines_read(struct reading *reading, bool *ret_has_receivers);

/* dialect.c: names the writer; false with a reason if the file is not one message. */
bool dialect_find(struct reading *reading);

#endif
