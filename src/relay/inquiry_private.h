/* What is shared by inquiry.c (threads, what was counted last) and inquiry_read.c (what is read of the queue). */
#ifndef MR_RELAY_INQUIRY_PRIVATE_H
#define MR_RELAY_INQUIRY_PRIVATE_H

#include "relay/inquiry.h"

enum { INQUIRY_SUMMED_MAX = 5000 };

struct inquiry_source { /* the thread's */
    struct store *store;
    const char *queue_dir;
    size_t summed_max; /* messages */
};

/* Puts what it finds into `answer`. */
typedef bool inquiry_fn(const struct inquiry_source *source, const json_t *request, json_t *answer, struct error *error);
inquiry_fn inquiry_list, inquiry_show, inquiry_totals, inquiry_destinations;

#endif
