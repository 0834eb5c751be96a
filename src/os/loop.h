/* loop: the event loop of a process (libevent), made to fail as the rest of the program does.
 *
 * libevent leaves the process by itself when it can't go on (no memory in the middle of a change, a broken kernel object):
 * here that is EX_TEMPFAIL with a word on stderr and without running what else ends a process (base/mem.h says why). */
#ifndef MR_OS_LOOP_H
#define MR_OS_LOOP_H

#include "base/error.h"

struct event_base;

/* Usable from several threads; NULL on failure. event_base_free() it. */
MUST_USE struct event_base *loop_create(struct error *error);
/* Until it is broken off or nothing is left to wait for; false when it ended by an error. */
MUST_USE bool loop_run(struct event_base *base, struct error *error);

#endif
