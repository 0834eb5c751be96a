/* queue_place: where the config says that the queue is, with the database's password if it has one in a file. */
#ifndef MR_CLI_QUEUE_PLACE_H
#define MR_CLI_QUEUE_PLACE_H

#include "config/config.h"
#include "store/store.h"

struct queue_place { struct store_place store; char dir[4096]; char *password; };

/* Filled in place: it is not to be moved. The config stays while it is used. Read before privileges are dropped. */
MUST_USE bool queue_place_find(const struct config *config, struct queue_place *ret_place, struct error *error);
void queue_place_forget(struct queue_place *place); /* a zeroed one, too */

#endif
