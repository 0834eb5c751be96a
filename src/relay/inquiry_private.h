/* What is shared by inquiry.c (thread, totals) and inquiry_read.c (what is read of the queue). */
#ifndef MR_RELAY_INQUIRY_PRIVATE_H
#define MR_RELAY_INQUIRY_PRIVATE_H

#include "relay/inquiry.h"

struct inquiry_source { struct store *store; const char *queue_dir; }; /* the thread's */

typedef bool inquiry_fn(const struct inquiry_source *source, const json_t *request, json_t *answer, struct error *error);
inquiry_fn inquiry_list, inquiry_show, inquiry_destinations;

#endif
