/* node: this process's place among the nodes that share a queue on PostgreSQL (docs/cluster.md has the protocol).
 *
 *   join ─> lease renewed every sixth of it ─> leave, or fenced off: another node has taken the claims over
 *
 * N1  a message is claimed (message.node) by the node that has it in memory; only that one sends and settles it
 * N2  the lease is measured by the database's clock; here it counts from before the renewal was asked for, on a clock that goes
 *     on through suspend, and ends a third early: node_may_send() is false before anybody else can take over
 * N3  a node takes over from another only when its own renewals have gone through for a whole lease: after an outage of the
 *     database everybody has that long to come back
 * N4  who takes over deletes the node's row and frees its slot; a transaction of the old one does not find its number in the
 *     slot any more and fails (store_commit). A node that was fenced off ends its process: it joins anew as another
 * N5  claims go by the recipient's domain: each of 256 buckets of them is one node's, by its rank; what is overdue for longer
 *     than two polls is anybody's
 * N6  a limit L is divided: rank r of n nodes has L/n, and one more if r < L%n. A new node sends when all others have made
 *     room for it (node_made_room()), so the sum never exceeds L
 * N7  NOTIFY wakes the others where the database has it; a poll finds everything without
 * Calls are made on the post's thread. Functions are the same thread's unless they say otherwise. */
#ifndef MR_STORE_NODE_H
#define MR_STORE_NODE_H

#include "os/post.h"
#include "store/queued.h"

enum { NODE_SLOT_MAX = 255, NODE_BUCKETS = 256 };

struct node_parts {
    const struct store_place *place; /* its owner is the node's name */
    const char *root;                /* tells this node's folder from any other's */
    int64_t lease_ms, poll_ms;
    struct post *post;
    /* Claimed messages, the callee's; `is_all`: nothing more is due for this node. */
    void (*claimed)(void *arg, struct queued *list, bool is_all);
    void (*changed)(void *arg, const uint64_t *ids, size_t count); /* by an operator at another node; count 0: any may be */
    void (*shared)(void *arg);       /* node_share() has changed, or node_may_send() is true again */
    void (*fenced)(void *arg);       /* N4 */
    void (*told)(void *arg, bool is_error, const char *text); /* for the event log */
    void *arg;
};

struct node_numbers { int64_t connections, active, delivered, deferred, bounced; };

struct node;
/* NULL: it could not; `ret_may_help` says whether the same may succeed later. */
MUST_USE struct node *node_join(const struct node_parts *parts, bool *ret_may_help, struct error *error);
/* Ends its thread: no letter comes behind those that wait in the post, which are to be run before node_leave(). */
void node_stop(struct node *node);
/* Gives claims and slot back, if the database is there. Nothing is in flight any more, and the writer has ended. */
void node_leave(struct node **node);

uint64_t node_id(const struct node *node);   /* any thread; another one each time a process joins */
unsigned node_slot(const struct node *node); /* 1 to NODE_SLOT_MAX: the low octet of the ids it gives away */
uint64_t node_batch(const struct node *node); /* of the slot when it joined; the writer counts on */
uint64_t node_last_id(const struct node *node); /* that any node had given away then */
void node_fenced(struct node *node);         /* any thread: a commit found it out */

bool node_may_send(const struct node *node); /* any thread: N2, N6 */
int64_t node_lease_ends_ms(const struct node *node); /* monotonic: when it becomes false unless the lease is renewed */
size_t node_share(const struct node *node, size_t limit); /* N6; may be 0 */
size_t node_count(const struct node *node);
size_t node_rank(const struct node *node);
void node_made_room(struct node *node);      /* what node_share() says now is kept to */

/* So many messages are wanted (0: none), with at most that much content; a claim comes by claimed(), one for each call.
 * Domains of refused buckets are left to others. */
void node_want(struct node *node, size_t count, size_t content_room, const bool refused[NODE_BUCKETS]);
void node_hurry(struct node *node);          /* something is due: the next claim doesn't wait for the poll */
void node_tell_changed(struct node *node, const uint64_t *ids, size_t count);
void node_report(struct node *node, const struct node_numbers *numbers); /* for store_each_node() */
unsigned node_bucket(struct slice domain);

/* A writer's handle works for that node from now on. */
void store_join(struct store *store, struct node *node);
/* In a transaction: claims are given back; what is due of those messages is anybody's. */
void store_release(struct store *store, const uint64_t *ids, size_t count);

struct store_node {
    uint64_t id;
    struct slice name, version;
    int64_t joined_ms, lease_left_ms;  /* below 0: over, not taken over yet */
    uint64_t claims;                   /* messages it has claimed */
    struct node_numbers numbers;
};
typedef void store_node_fn(void *arg, const struct store_node *node);
MUST_USE bool store_each_node(struct store *store, store_node_fn *fn, void *arg, struct error *error);

#endif
