#include "store/node.h"
uint64_t node_id(const struct node *node) { (void)node; return 0; }
unsigned node_slot(const struct node *node) { (void)node; return 0; }
uint64_t node_batch(const struct node *node) { (void)node; return 0; }
void node_fenced(struct node *node) { (void)node; }
