/* state: what the objects of one session share, and the makers of objects.
 *
 * Objects refer to the state, never strongly to each other upwards, so that a script may keep any of them and drop the rest. */
#ifndef MR_CDONTS_STATE_H
#define MR_CDONTS_STATE_H

#include "cdonts/object.h"
#include "cdonts/outgoing.h"
#include "message/read.h"

struct session_state {
    atomic_int references;
    struct cdonts_object *session; /* weak */
    char *name, *address;          /* who logged on; NULL before */
    char *pickup, *drop;           /* folders; NULL: the system's */
    int message_format;
    bool is_logged_on;
};

struct session_state *state_retain(struct session_state *state);
void state_release(struct session_state *state); /* NULL does nothing */

struct cdonts_object *newmail_create(void);
struct cdonts_object *session_create(void);
struct cdonts_object *folder_create(struct session_state *state, int kind);
struct cdonts_object *messages_create(struct session_state *state, bool is_inbox);
/* A message to be written, or one of the Inbox (file: its path; raw: taken). */
struct cdonts_object *message_create(struct session_state *state);
struct cdonts_object *message_create_read(struct session_state *state, const char *path, struct buf *taken_raw);
struct cdonts_object *recipients_create(struct session_state *state, bool is_read_only);
struct cdonts_object *attachments_create(struct session_state *state, bool is_read_only);
struct cdonts_object *address_entry_create(struct session_state *state, const char *name, const char *address);

void messages_remove(struct cdonts_object *messages, struct cdonts_object *message);
MUST_USE bool recipients_add(struct cdonts_object *recipients, const char *name, const char *address, int type);
/* All of a kind as a header's value is written: "Name <address>, …". */
void recipients_list(const struct cdonts_object *recipients, int type, struct buf *out);
MUST_USE bool attachments_add(struct cdonts_object *attachments, const struct read_file *file);
bool attachments_put(const struct cdonts_object *attachments, struct outgoing *outgoing);

/* Application, Class, Parent and Session: rows that all of the tree have. */
member_fn common_get;
enum { COMMON_APPLICATION, COMMON_CLASS, COMMON_PARENT, COMMON_SESSION };
#define COMMON_MEMBERS                                                         \
    {"Application", CDONTS_GET, 0, 0, common_get, COMMON_APPLICATION},         \
        {"Class", CDONTS_GET, 0, 0, common_get, COMMON_CLASS},                 \
        {"Parent", CDONTS_GET, 0, 0, common_get, COMMON_PARENT},               \
    {"Session", CDONTS_GET, 0, 0, common_get, COMMON_SESSION}

#endif
