/* hosts: a lab's servers: each connection that the relay dials is one end of a socket pair, a scripted session (smtp/sink.h) has the other.
 *
 * Addresses that no host of the scenario has can't be reached. What happens at a server is told to play.seen:
 *   arrived      a message was taken whole: mx, from, to, message_id, and `answer`; "lost" if the server hung up instead of answering
 *   visited      a connection was made: mx, open (so many at the time, with it) */
#ifndef MR_LAB_HOSTS_H
#define MR_LAB_HOSTS_H

#include "lab/certificates.h"
#include "lab/play.h"
#include "relay/relay.h"

struct hosts;
struct hosts *hosts_create(struct play *play, const struct certificates *certificates);
struct network hosts_network(struct hosts *hosts);
void hosts_destroy(struct hosts **hosts);

#endif
