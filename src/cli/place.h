/* place: where the config says that the queue is, with the database's password if it has one in a file. */
#ifndef MR_CLI_PLACE_H
#define MR_CLI_PLACE_H

#include "config/config.h"
#include "store/store.h"

struct place { struct store_place store; char dir[4096]; char *password; };

/* Filled in place: it is not to be moved. The config stays while it is used. Read before privileges are dropped. */
MUST_USE bool place_find(const struct config *config, struct place *ret_place, struct error *error);
void place_forget(struct place *place); /* a zeroed one, too */

#endif
