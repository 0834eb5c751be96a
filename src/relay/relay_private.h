/* What the files of the relay share.
 *
 *   relay.c       life, wake-ups                    items.c       messages in memory, their look-ups
 *   loader.c      what is due comes into memory       fetch.c       content that only a shared queue has
 *   site.c        jobs and connections of a site      connection.c  one SMTP connection
 *   local.c       Drop and Maildir, by a thread         mailbox.c     one file into a folder
 *   settle.c      outcomes, committed                 transaction.c what it sends, and what becomes of it
 *   site_pace.c   how much a site takes now            pace.c        limits that tune themselves
 *   dial.c        which address is next                paces.c       those of all sites, kept on disk
 *   login.c       users of routes                     connection_auth.c  AUTH on a connection
 *   site_login.c  what a user that is refused means for a site
 *   cluster.c     a queue that nodes share
 *   admin.c       the control socket's requests      heard.c       what the listener asks */
#ifndef MR_RELAY_RELAY_PRIVATE_H
#define MR_RELAY_RELAY_PRIVATE_H

#include "base/arena.h"
#include "base/hash.h"
#include "config/replies.h"
#include "config/signer.h"
#include "relay/login.h"
#include "outcome/suppressed.h"
#include "os/timer.h"
#include "outcome/tlsrpt.h"
#include "relay/pace.h"
#include "relay/relay.h"
#include "relay/tls.h"
#include "route/route.h"
#include "smtp/client.h"
#include "store/policy.h"

#include <openssl/ssl.h>

enum { TRIED_MAX = 64, WINDOW_START = 5, STRIKES_MAX = 3, HOST_REST_MS = 60 * 1000, STORE_AGAIN_S = 5,
       PACE_HOLD_MS = 60 * 1000 };

struct event;
struct lookup;
struct site;
struct settle;
struct connection;
struct local;
struct fetch;
struct fetches;

struct fetch_wait {            /* for content; the waiter's memory, zeroed before */
    void (*fn)(struct fetch_wait *wait);
    struct fetch_wait *next;
    bool is_on;                /* fn will be called */
    bool is_failed;            /* it could not be read; `error` says why */
    bool is_gone;              /* since the message is no more in the queue */
    bool is_ended;             /* the relay is torn down: the waiter only lets go of what it holds */
    struct error error;
};

struct item {                  /* a message with recipients that are due */
    struct relay *relay;
    uint64_t id;               /* key */
    struct queued *queued;
    struct policy policy;      /* of its folder */
    struct slice content;      /* absent until it is needed */
    void *mapped;              /* a body file's */
    struct arena fetched;      /* content that a fetch brought */
    struct fetch *fetch;       /* under way, or NULL */
    struct arena arena;        /* content read from the store, failures of jobs */
    struct lookup *lookups;    /* one a recipient, while its route is asked for */
    size_t open_count;         /* recipients without a committed outcome */
    struct settle *settle;     /* outcomes without a connection, gathered until the loop comes round */
    struct item *next_settling;
    bool is_counted;           /* its content is in relay->content_size */
    bool is_stale;             /* an operator changed it: what is not in flight is loaded again */
    bool is_gone;              /* from the queue */
    bool was_skipped;          /* the loader met a due recipient that it does not hold */
    UT_hash_handle hh;
};

struct attempt {               /* what one attempt came to, for one or more recipients */
    enum smtp_result_kind kind;
    const char *stage;
    int code;
    struct slice status, text; /* text: the server's words, or ours where code is 0 */
    struct slice host, address, tls, cipher;
    struct slice policy;       /* what demanded TLS, and whether the peer passed */
    struct slice auth;         /* the mechanism, under way or done; absent: none */
    bool is_kept;              /* our login's fault, not the message's: it never expires by it (login.h U1) */
    int64_t kept_until_ms;     /* wall: the next try of what is kept */
    struct slice offers;       /* of a rehearsal: what the host says at EHLO; absent otherwise */
    bool is_final;             /* delivered means: in the mailbox */
    const struct reply_class *class; /* what a refusal means; NULL: no rule fits */
    bool has_dsn;              /* the host passes notices on (RFC 3461) */
    bool has_by;               /* and the time to deliver by (RFC 2852) */
    int64_t connect_ms, transaction_ms;
};

struct job {                   /* one transaction to be: recipients of one item at one site */
    struct job *next;
    struct item *item;
    struct route *route;
    unsigned *recipients;      /* their places in item->queued */
    size_t count, capacity;
    uint64_t tried;            /* targets of the route, bit by bit, that failed this job */
    struct attempt failure;    /* the last of them; texts in the item's arena */
};

struct site {                  /* hosts that are reached together (route.h N9) */
    struct relay *relay;
    char *name;                /* key */
    const struct config_route *rule;
    const struct config_source *source; /* where its connections come from; NULL: delivery.source */
    struct pace *pace;         /* the relay's */
    struct login *login;       /* NULL: the rule has no user */
    enum tls_demand demand;    /* of all its messages */
    struct job *first, **last;
    size_t waiting;
    struct connection *connections;
    size_t connection_count, connecting_count;
    size_t window;             /* connections it may have now */
    unsigned strikes;          /* host failures in a row */
    int64_t dead_until_ms;     /* monotonic */
    struct attempt failure;    /* why it is dead, or its last host failure; texts in the arena */
    bool has_soft_failure;     /* among the failures since it last worked one was temporary */
    struct arena arena;
    struct timer *timer;
    bool is_dirty;
    bool is_crowded;           /* domains that lead here are among relay->crowds */
    struct site *next_dirty;
    UT_hash_handle hh;
};

struct host_mark {             /* an address that failed */
    char address[64];          /* key: IP with port */
    int64_t rests_until_ms, slow_until_ms, clear_until_ms; /* monotonic; clear: TLS failed there, go without */
    UT_hash_handle hh;
};

struct known { uint64_t id; UT_hash_handle hh; };

struct source_state { struct pace *pace; size_t connections; }; /* of a config_source, all sites together */

struct relay {
    struct relay_parts parts;
    const struct config *config;
    struct store *reader;      /* NULL where nodes share the queue */
    struct fetches *fetches;   /* only there */
    struct inquiries *inquiries;
    struct router *router;
    struct tls *tls;
    struct login *logins;      /* of routes with a user */
    struct https *https;       /* of their tokens; NULL: not needed */
    struct local *local;
    struct event *soon;
    struct timer *wake;
    int64_t wake_ms;           /* wall time of the next load; INT64_MAX = none */
    bool is_behind;            /* the queue may hold due messages that are not in memory, and no load under way will see */
    struct {                   /* under way */
        bool is_on;
        size_t priority;
        struct store_due_cursor cursor;
        int64_t now_ms;
        size_t skipped;        /* rows in a row that belong to crowds */
        int64_t rests_until_ms; /* monotonic */
    } load;
    struct crowd *crowds;      /* domains of which more waits than memory is to hold (crowd.c) */
    uint64_t *reload;          /* messages to be looked at again, by id */
    size_t reload_count, reload_capacity;
    bool is_starved;           /* a site could not connect since all connections are in use */
    struct item *items;
    struct known *early;       /* loaded before intake could hand it over */
    struct known *expected;    /* notices on their way into the queue: handed over, never loaded before */
    uint64_t handed_id;        /* up to this id all that was taken was handed over */
    struct item *settling;
    struct settle *again;      /* outcomes that could not be committed yet */
    struct site *sites, *dirty;
    struct host_mark *marks;
    struct pace *paces;
    struct timer *pace_timer;  /* they changed and are about to be written */
    struct suppressed *suppressed;
    struct tls_reports *tls_reports; /* NULL: none are made */
    struct source_state *sources; /* as config->sources */
    size_t source_turn;
    uint64_t content_size;
    size_t connection_count, settles_in_flight, changes_in_flight;
    uint64_t random;
    uint64_t delivered, deferred, bounced;
    int64_t started_ms;
    struct link *link;           /* to the listener; NULL: none */
    size_t asked;              /* of the cluster: so many claims are still awaited */
    bool refused[NODE_BUCKETS]; /* since no connection is allowed there */
    size_t asked_crowds;       /* how many there were then */
    uint64_t *releases;        /* claims to be given back */
    size_t release_count, release_capacity;
    int64_t release_after_ms;  /* monotonic */
    bool is_releasing, is_cut, is_making_room;
    struct timer *lease_timer;
    void (*finished)(void *arg); /* set: finishing */
    void *finished_arg;
};

static inline struct source_state *source_state(const struct relay *relay, const struct config_source *source) /* of the config's */
{
    return &relay->sources[source - relay->config->sources];
}

/* relay.c */
void relay_soon(struct relay *relay); /* dirty sites, gathered settles, loading: when the loop comes round */
void relay_wake_at(struct relay *relay, int64_t wall_ms);
uint32_t relay_random(struct relay *relay);
void relay_check_finished(struct relay *relay);
void relay_start_list(struct relay *relay, struct queued *list);

/* admin.c. What was kept while a route was suspended is due now; when the writer has done it. */
void relay_retry_kept(struct relay *relay);

/* loader.c. A message is in the queue from its commit on and is handed over a moment later: the loader may find it first. */
void loader_run(struct relay *relay); /* a page of what is due */
void loader_destroy(struct relay *relay);
struct queued *loader_skip(struct relay *relay, struct queued *list); /* without what was loaded before intake handed it over */
void relay_expect(struct relay *relay, uint64_t id); /* before its commit: relay_start_list() will bring it */
void loader_came(struct relay *relay, uint64_t id);  /* what was expected is there */
void relay_reload(struct relay *relay, uint64_t id); /* what of it is due is loaded when the loop comes round */

/* crowd.c */
bool crowd_has(const struct relay *relay, struct slice domain); /* what comes for it stays in the queue for now */
bool crowd_has_all(const struct relay *relay, const struct queued *queued);
size_t crowd_buckets(const struct relay *relay, bool buckets[NODE_BUCKETS]); /* marks theirs (store/node.h N5); how many crowds */
void crowd_joined(struct site *site, struct slice domain); /* one more waits */
void crowd_left(struct site *site); /* one less waits */
void crowd_forget(struct site *site);

/* items.c */
void item_start(struct relay *relay, struct queued *queued);
void item_release(struct item *item, size_t count); /* so many recipients are done with; the last frees it */
void item_destroy(struct item *item);
bool item_is_here(const struct item *item); /* item_content() does not wait for a database; else fetch_start() */
/* The canonical message; false when it can't be read. */
MUST_USE bool item_content(struct item *item, struct slice *ret_content, struct error *error);
struct item *item_find(struct relay *relay, uint64_t id);
/* Whether that row's attempt is one of those that the item makes. */
bool item_holds(const struct item *item, const struct store_recipient *row);

/* fetch.c: brings an item's content, so that item_is_here(). wait->fn is called on the loop, never from within fetch_start(); what
 * waits keeps the item by its open recipients. */
MUST_USE bool fetches_start(struct relay *relay, struct error *error);
void fetches_end(struct relay *relay); /* whoever waits is told (is_ended) */
void fetch_start(struct item *item, struct fetch_wait *wait);
void fetch_leave(struct item *item, struct fetch_wait *wait); /* it is not told any more, if it was to be */
void fetch_forget(struct item *item); /* is about to go */

/* site.c */
void site_add(struct relay *relay, struct route *route, struct item *item, unsigned recipient);
void site_requeue(struct site *site, struct job *job); /* to the front; taken over */
void site_touch(struct site *site);    /* is looked at when the loop comes round */
void site_dispatch(struct site *site); /* may free it */
void site_destroy(struct site *site);
struct job *site_unlink(struct site *site, struct job **at);
struct job *site_take(struct site *site, const struct connection *connection); /* NULL: none for it now */
void site_worked(struct site *site);
void site_arm(struct site *site, int64_t wait_ms); /* it is looked at then, or before */
void site_host_failed(struct site *site, const struct attempt *attempt, const char *address, bool was_usable);
/* site_login.c */
bool site_login_rests(const struct site *site, const struct route_host *host);  /* the rule's user stands in the host's way */
/* Whether no more connections may be opened to the host yet: a token is being fetched, or one of `standing` proves the password. */
bool site_login_waits(const struct site *site, const struct route_host *host, size_t standing);
/* If the rule's user stands in the way of one of the job's hosts, that is the site's failure. */
bool site_login_note(struct site *site, const struct job *job);
/* While a route is suspended its mail is kept, whatever else failed (login.h U1). */
void site_login_keep(const struct site *site, const struct job *job, struct attempt *attempt);
int64_t site_login_wait_ms(const struct site *site, int64_t otherwise_ms); /* of a site that its user keeps dead */
void site_login_refused(struct site *site, const struct attempt *attempt, unsigned token_number);

void job_destroy(struct job *job);
struct job *job_create(struct item *item, struct route *route, uint64_t tried);
void job_add(struct job *job, unsigned recipient);
void attempt_keep(struct arena *arena, const struct attempt *attempt, struct attempt *ret_kept);

/* dial.c */
struct host_mark *site_mark(struct relay *relay, const char *address, bool is_made);
/* Notes that the target with this address, or all of IPv6, failed the job; true if another one is left. */
bool job_tried(struct job *job, const char *address);
bool job_tried_ipv6(struct job *job);
bool job_may_use(const struct job *job, const char *address);
bool route_has_family(const struct route *route, int family);
/* The address of that family that connections come from; false: the system chooses. */
bool dial_source(const struct site *site, int family, struct sockaddr_storage *ret_from);
/* The address to dial for the job now; false if there is none, or none yet. */
bool dial_choose(struct site *site, const struct job *job, const struct route_host **ret_host,
                 const struct route_address **ret_address);
/* A site of which nothing could be tried gets the reason as its failure. */
void dial_note_barred(struct site *site, const struct job *job);
size_t dial_slow_count(const struct site *site); /* connections that are made for long */
void dial_won(struct site *site, const struct connection *winner); /* lets the host's slow ones go */

/* site_pace.c */
const struct config_source *site_choose_source(struct relay *relay, const struct route *route, const struct item *item);
void site_key(struct buf *key, const struct route *route, enum tls_demand demand, const struct config_source *source);
size_t site_connections_max(const struct site *site);
int64_t site_wait_ms(const struct site *site, char ret_limit[64]); /* until a message may go; 0: now */
void site_take_one(struct site *site);
bool site_is_crowded(const struct site *site);
void site_complained(struct site *site, const struct attempt *attempt);
void site_delivered(struct site *site, const struct attempt *attempt);
void site_leave_ipv6(struct site *site, const struct attempt *attempt);

/* returned.c */
/* A hard bounce feeds the suppression list, if that is wished and the class says that the address is bad. */
void relay_suppress(struct relay *relay, struct arena *arena, struct slice address, const struct reply_class *class, struct slice words);
/* The message was delivered to that address of ours. */
void returned_note(struct item *item, const struct store_recipient *recipient);

/* tls_report.c: counts a session (`failure` NULL: secured as the policy wants), and reports finished days. */
MUST_USE bool tls_reports_start(struct relay *relay, struct error *error);
void tls_reports_end(struct relay *relay);
void tls_reports_count(struct relay *relay, const struct site *site, const struct route *route, const struct tls_policy *policy,
                       const struct tlsrpt_failure *failure);

/* paces.c */
struct pace *pace_get(struct relay *relay, const char *name);
void paces_load(struct relay *relay);
void paces_tell(struct relay *relay, json_t *answer); /* "paced": what was learnt */
void paces_changed(struct relay *relay); /* is written soon */
void paces_close(struct relay *relay);

/* admin.c: one verb of `mailroot queue`; `fn` is called when it is committed, or can't be. `request` may say for whom ("by"), and is
 * not needed behind the call. False: it makes no sense, and `fn` is not called. */
typedef void relay_change_fn(void *arg, bool is_done, size_t count, const struct error *error);
MUST_USE bool relay_change(struct relay *relay, const json_t *request, relay_change_fn *fn, void *arg, struct error *error);

/* heard.c: what the listener asks and tells. */
MUST_USE bool heard_start(struct relay *relay, struct error *error);

/* local.c */
MUST_USE struct local *local_start(struct relay *relay, struct error *error);
void local_stop(struct local **local); /* what is not done stays due in the queue */
void local_add(struct relay *relay, struct route *route, struct item *item, unsigned recipient);
void local_dispatch(struct local *local);
bool local_is_idle(const struct local *local);

/* connection.c */
void connection_open(struct site *site, struct route *route, const struct route_host *host,
                     const struct route_address *address);
void connection_wake(struct connection *connection); /* there may be work */
void connection_settled(struct connection *connection); /* its outcome is committed */
void connection_destroy(struct connection *connection);
void connection_cut(struct connection *connection, const char *reason); /* unless its message has gone out whole */
bool connection_is_idle(const struct connection *connection);
bool connection_is_slow(const struct connection *connection); /* dialled for delivery.dial_next or longer */
bool connection_is_same_host(const struct connection *a, const struct connection *b);
const char *connection_address(const struct connection *connection);
struct connection *connection_next(const struct connection *connection); /* of the site's list */

/* cluster.c: each does nothing, or says yes, where the queue is not shared */
void cluster_start(struct relay *relay);
void cluster_end(struct relay *relay);
bool cluster_may_send(const struct relay *relay);
void cluster_load(struct relay *relay); /* only where it is */
void cluster_release(struct relay *relay, uint64_t id); /* only where it is */
void cluster_flush(struct relay *relay);
void cluster_make_room(struct relay *relay);
size_t cluster_share(const struct relay *relay, size_t limit);
size_t cluster_nodes(const struct relay *relay); /* 1 */
size_t cluster_rank(const struct relay *relay);  /* 0 */
/* Nothing may be sent there from this node, so few connections are allowed in all: the jobs go back, for others to claim. */
bool cluster_leaves(struct site *site);

/* settle.c */
struct settle *settle_create(struct item *item);
void settle_add(struct settle *settle, unsigned recipient, const struct attempt *attempt);
void settle_submit(struct settle *settle, struct connection *connection); /* connection: told after the commit, or NULL */
void settle_forget_all(struct relay *relay); /* of outcomes that could not be committed, at the end */
void settle_leave(struct settle *settle); /* the connection is gone */
struct settle *settle_gathered(struct item *item); /* the one submitted when the loop comes round */

#endif
