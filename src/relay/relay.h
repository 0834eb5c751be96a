/* relay: from committed messages to their outcomes: scheduler, sites, connections, settlements, on one loop.
 *
 *   intake ─accept─> item ─look-up─> job at a site ─connection─> results ─settle─> commit ─> done | due later ─loader─┐
 *                     └────────────────────────────────────────────────────────────────────────────────────────────┘
 *
 * Y1  only what is due is in memory, at most limits.active messages; what lies behind is loaded as those are done
 * Y2  each recipient of an attempt gets one outcome, committed together with the DSN it causes
 * Y3  a connection starts its next transaction only after the last one's outcome is committed: a crash repeats at most
 *     one message a connection
 * Y4  a host that fails is left alone for a while, the next one is tried at once; a site all of whose hosts failed is
 *     dead for a while: what waits for it is deferred together, then one connection probes it
 * Y5  a rehearsal goes the whole way up to RCPT, then RSET; mail for a local folder stops before it. Outcomes are told as if it
 *     had been sent
 * All functions run on the loop's thread. */
#ifndef MR_RELAY_RELAY_H
#define MR_RELAY_RELAY_H

#include "config/secrets.h"
#include "os/link.h"
#include "os/stream.h"
#include "outcome/badmail.h"
#include "outcome/event.h"
#include "store/ids.h"
#include "store/node.h"
#include "store/queued.h"
#include "store/writer.h"

#include <jansson.h>

struct control_question;
struct event_base;
struct relay;
struct tls;

struct network { /* a simulated one: what it makes of a connection to that address, from an address that may be NULL */
    struct stream_end (*dial)(void *arg, const struct sockaddr *to, const struct sockaddr *from);
    void *arg;
};

struct relay_parts { /* all stay in place while the relay lives */
    struct event_base *base;
    const struct config *config;
    struct ids *ids;
    struct writer *writer;
    struct post *post;                    /* attached to the loop */
    struct event_log *log;
    const struct badmail_folder *badmail;
    const char *queue_dir;                /* body files; what the relay has learnt */
    const struct store_place *place;
    struct node *node;                    /* NULL: the queue is ours alone */
    int receipts_fd;                      /* folder of receipts; -1: there is none, whatever is wished */
    const struct signer *signer;          /* of notices; may be NULL */
    const struct secrets *secrets;        /* of routes (config/secrets.h) */
    struct tls *tls;                      /* taken over; NULL: made here, of files that may be read by now */
    bool is_rehearsal;                    /* Y5 */
    const struct link_pair *link;         /* to the listener; NULL: there is none */
    const struct resolver *resolver;      /* NULL: libunbound */
    const struct network *network;        /* NULL: the real one */
};

MUST_USE struct relay *relay_start(const struct relay_parts *parts, struct error *error);
void relay_accept(struct relay *relay, struct queued *list); /* committed messages, from intake; taken over */
/* No new transactions; idle connections quit. `done` runs once when nothing is in flight any more. */
void relay_finish(struct relay *relay, void (*done)(void *arg), void *arg);
void relay_destroy(struct relay **relay); /* what is in flight is cut; the queue still has it */
/* What a node hears (store/node.h): its calls of these names. */
void relay_claimed(struct relay *relay, struct queued *list, bool is_all);
void relay_changed(struct relay *relay, const uint64_t *ids, size_t count);
void relay_shared(struct relay *relay);
/* A control_fn (os/control.h): "status", "queue", "flush", "resume", and what inquiry.h reads. */
bool relay_control(void *arg, struct control_question *question, const json_t *request, json_t *answer, struct error *error);

#endif
