/* stream: server-sent events: the log's lines as they come, a comment now and then.   WHATWG HTML 9.2
 * At most STREAMS_MAX at once. A stream sleeps (its connection suspended) until stream_wake(). */
#ifndef MR_WEB_STREAM_H
#define MR_WEB_STREAM_H

#include "web/watch.h"

struct MHD_Connection;
struct streams;
enum { STREAMS_MAX = 32 };

struct streams *streams_create(struct watch **watch);
void streams_destroy(struct streams **streams); /* when the server has stopped */
void streams_wake(struct streams *streams);
void streams_end(struct streams *streams); /* each ends at its next word, which is now */
MUST_USE bool streams_begin(struct streams *streams, struct MHD_Connection *connection); /* false: too many */

#endif
