/* What the files of the admin page and API share.
 *   admin.c        life, routes, page            admin_queue.c   what the relay is asked
 *   admin_send.c   POST /v1/messages             admin_badmail.c Badmail */
#ifndef MR_WEB_ADMIN_PRIVATE_H
#define MR_WEB_ADMIN_PRIVATE_H

#include "web/access.h"
#include "web/admin.h"
#include "web/stream.h"
#include "web/watch.h"

#include <jansson.h>
#include <pthread.h>

struct sent;

struct kept_answer { json_t *value; int64_t until_ms; }; /* of the relay, for requests that come often */

struct admin {
    const struct config *config;
    struct access *access;
    struct watch *watch;
    struct streams *streams;
    pthread_mutex_t mutex; /* kept, sent */
    struct kept_answer status, destinations;
    struct sent *sent;     /* by Idempotency-Key */
    char control_path[4096], badmail_dir[4096];
};

typedef void admin_fn(struct admin *admin, struct request *request, struct slice rest, struct answer *answer);

/* admin.c */
void admin_put_json(struct answer *answer, unsigned status, json_t *value); /* takes the value over */
json_t *admin_body(const struct request *request, struct answer *answer);   /* NULL: answered with 400 */

enum { ADMIN_TEXT = 1, ADMIN_LIST = 2, ADMIN_OBJECT = 4, ADMIN_BOOL = 8 };
struct admin_field { const char *name; unsigned types; };
/* Every member of the object is one of these, and of its type; else what was expected. */
MUST_USE bool admin_check_fields(const json_t *body, const struct admin_field *known, size_t count, struct error *error);

/* admin_queue.c; `rest` is what stands behind the route's path */
admin_fn admin_status, admin_destinations, admin_graph, admin_search, admin_story, admin_change, admin_trace, admin_domains, admin_ready,
    admin_metrics;
/* admin_send.c */
admin_fn admin_send;
void admin_forget_sent(struct admin *admin);
/* admin_badmail.c */
admin_fn admin_badmail_list, admin_badmail_show, admin_badmail_resubmit, admin_badmail_remove;

#endif
