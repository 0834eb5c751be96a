/* link: the pair of sockets between the listener and the relay: what is asked and told goes through it, and nothing else.
 *
 *   supervisor makes both ends ──fork──> listener: link_send() ─packet─> relay: its link_fn, which may link_send() an answer
 *
 * B1  both ends stay open in the supervisor: either process may die and come back, what was sent meanwhile waits
 * B2  packets are whole or not at all, at most LINK_SIZE_MAX octets, in order; what finds no room is refused at once, so that
 *     neither process ever waits for the other
 * B3  a process keeps its own end; link_attach() closes the other one
 * What comes from the listener is a network-facing process's word: the relay believes no more of it than it has to. */
#ifndef MR_OS_LINK_H
#define MR_OS_LINK_H

#include "base/error.h"
#include "base/slice.h"

enum { LINK_SIZE_MAX = 32 * 1024 };
enum link_end { LINK_RELAY, LINK_LISTENER, LINK_ENDS };
struct link_pair { int fds[LINK_ENDS]; };

struct event_base;
struct link;
typedef void link_fn(void *arg, struct slice packet); /* on the loop */

MUST_USE bool link_make(struct link_pair *ret_pair, struct error *error);
/* For a process that has no part in it. */
void link_leave(const struct link_pair *pair);
MUST_USE struct link *link_attach(const struct link_pair *pair, enum link_end end, struct event_base *base, link_fn *fn,
                                  void *arg, struct error *error);
MUST_USE bool link_send(struct link *link, struct slice packet);
void link_stop(struct link *link); /* what comes from now on is for the next process of this end */
void link_close(struct link **link);

#endif
