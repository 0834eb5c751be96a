/* post: calls handed from any thread to one other.
 *
 * The receiving thread waits on post_fd() (poll, or post_attach() for a libevent loop) and runs what was posted, in order,
 * in post_run(). A struct letter is the sender's memory until it has run; the callee may free it.
 * One eventfd write wakes the receiver for any number of letters. */
#ifndef MR_OS_POST_H
#define MR_OS_POST_H

#include "base/error.h"

struct event_base;

struct letter {
    void (*run)(struct letter *letter); /* on the receiving thread */
    struct letter *next;
};

struct post;
MUST_USE struct post *post_create(struct error *error);
void post_destroy(struct post **post); /* letters not run are dropped */
void post_send(struct post *post, struct letter *letter);
int post_fd(const struct post *post); /* readable when something waits */
void post_run(struct post *post);
MUST_USE bool post_attach(struct post *post, struct event_base *base, struct error *error);

#endif
