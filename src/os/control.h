/* control: the running relay's Unix socket, ROOT/control.sock (mode 0660): one JSON line in, one out, then closed.
 *
 *   request  {"do": "status" | "queue" | "flush" | "reload", …}      answer  {"ok": true, …} | {"ok": false, "error": "…"}
 *
 * K1  an ill-formed or too long (1 MiB) request closes that connection and nothing else
 * K2  a silent client is dropped after 10 s; at most 64 at once
 * K3  what takes time is answered later, by control_finish(): the loop goes on, other clients too
 * K4  it is for a process that ignores SIGPIPE, as libevent's sockets need it
 * Not here: what the requests mean (relay/admin.c). */
#ifndef MR_OS_CONTROL_H
#define MR_OS_CONTROL_H

#include "base/error.h"

#include <jansson.h>

struct event_base;
struct control;
struct control_question; /* one client's */
/* Called on the loop. Fills `answer` (a new object, "ok" is set by the module from the result). */
typedef bool control_fn(void *arg, struct control_question *question, const json_t *request, json_t *answer, struct error *error);
/* Within a control_fn: what it returns isn't looked at, `request` and `answer` stay until control_finish(), which comes once, on the
 * loop, whether the client is still there or not. `error` is looked at if `is_done` is false. */
void control_defer(struct control_question *question);
void control_finish(struct control_question *question, bool is_done, const struct error *error);

MUST_USE bool control_listen(struct event_base *base, const char *path, control_fn *fn, void *arg,
                             struct control **ret_control, struct error *error);
void control_close(struct control **control);

enum control_result { CONTROL_ANSWERED, CONTROL_NOT_RUNNING, CONTROL_FAILED };
/* Blocking client, 30 s. `*ret_answer` is the caller's to json_decref; on FAILED (also {"ok": false}) error is filled. */
MUST_USE enum control_result control_request(const char *path, json_t *request, json_t **ret_answer,
                                             struct error *error);

#endif
