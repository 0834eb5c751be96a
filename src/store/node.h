#ifndef MR_STORE_NODE_H
#define MR_STORE_NODE_H
#include "store/store.h"
struct node;
uint64_t node_id(const struct node *node);
unsigned node_slot(const struct node *node);
uint64_t node_batch(const struct node *node);
void node_fenced(struct node *node);
void store_join(struct store *store, struct node *node);
#endif
