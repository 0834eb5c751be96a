/* policy: what the folder that a message was dropped in says of it, for as long as the message lives: the words of the column
 * message.policy.
 *
 *   folder=shop source=newsletter window=Mon-Fri/08:00-18:00 receipts=1 released=1795795200000 by=1795795300000;RT
 *   trace=4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01;1795795190000
 *
 * They are worked out once, when the message is taken: a folder.conf that changes or goes later doesn't change what is queued. */
#ifndef MR_STORE_POLICY_H
#define MR_STORE_POLICY_H

#include "config/folder_conf.h"

struct policy {              /* slices of the words; absent: nothing is said */
    struct slice folder;
    struct slice sources;    /* names of source sections, parted by commas */
    struct slice window;     /* config/window.h */
    int receipts;            /* -1: as the config */
    int64_t by_ms;           /* RFC 2852: to be delivered by then; 0: whenever */
    bool is_by_return, is_by_traced;
    int64_t released_ms;     /* it was held back until then (X-Deliver-At): what it may take counts from there; 0: it wasn't */
    struct slice trace;      /* message/trace.h */
    int64_t appeared_ms;     /* where there is a trace: when its file was in Pickup */
};

/* Absent where nothing is to be said; no folder is NULL; of `own` sources (instead of the
 * folder's), released_ms, by and trace count. In the arena. */
struct slice policy_words(struct arena *arena, const struct folder_conf *conf, const struct policy *own);
void policy_read(struct slice words, struct policy *ret_policy);

#endif
