/* What the files of a node share: postgres_node.c, postgres_member.c, postgres_claim.c. */
#ifndef MR_STORE_NODE_PRIVATE_H
#define MR_STORE_NODE_PRIVATE_H

#include "store/node.h"
#include "store/postgres_private.h"

#include <pthread.h>

struct node_want { size_t count, content_room; bool refused[NODE_BUCKETS]; };

struct node {
    struct node_parts parts;
    struct store_place place;    /* copies */
    char *root;
    pthread_t thread;
    int wake_fd;
    uint64_t id, batch, last_id; /* from joining on as they are */
    unsigned slot;
    _Atomic int64_t ends_ms;     /* monotonic: N2 */
    _Atomic bool has_room;       /* N6: all others count this node */
    _Atomic bool is_fenced, is_stopping;

    pthread_mutex_t mutex;       /* of what follows */
    size_t count, rank;          /* of the nodes there are */
    uint64_t newest, room_for;   /* the last of them; the last that room was made for */
    struct node_want want;
    bool is_hurried;
    struct node_numbers numbers;
    struct buf tells;            /* payloads for NOTIFY, NUL between them */

    struct pglink link;          /* the thread's from here on */
    uint64_t connects;           /* link.connects when it listened */
    int64_t renew_at_ms, renewed_ms, steady_since_ms, claim_at_ms; /* monotonic */
    uint64_t claims, doubtful;   /* the last claim's number; one whose answer was lost, 0: none */
    uint64_t told_room_for;      /* in the database */
    uint64_t told_newest;        /* what shared() was last called for */
    size_t told_count;
    bool told_may_send, was_down, is_joined;
};

/* postgres_node.c */
void node_tell(struct node *node, bool is_error, const char *format, ...) FORMAT(3, 4);
void node_post_claimed(struct node *node, struct queued *list, bool is_all);

/* postgres_member.c */
MUST_USE bool member_join(struct node *node, struct error *error);
void member_leave(struct node *node);
/* Renews the lease and looks who is there; false when the database can't be asked. */
MUST_USE bool member_renew(struct node *node, struct error *error);
void member_take_over(struct node *node); /* from those whose lease is over */
void member_notify(struct node *node, const char *payload);

/* postgres_claim.c */
/* Claims what is wanted and posts it; false when the database can't be asked. */
MUST_USE bool claim_due(struct node *node, const struct node_want *want, struct error *error);
/* Whether the last claim happened, and if so gives it back: nobody here has heard of it. */
MUST_USE bool claim_settle_doubt(struct node *node, struct error *error);

#endif
