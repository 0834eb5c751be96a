/* world: a day of mail, drawn from a seed: domains, servers with their moods, messages, and what happens to the relay. It is written as a
 * scenario of the lab, so that what a seed does can be read, played by `mailroot lab`, and cut down by hand. */
#ifndef MR_SIMULATE_WORLD_H
#define MR_SIMULATE_WORLD_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

enum { WORLD_DOMAINS_MAX = 8, WORLD_HOSTS_MAX = 3 };

struct world {
    struct buf scenario;
    size_t domain_count;
    /* Whose MX hosts those are: `own` is the domain itself, or the one that it shares them with, at the same preferences (one site). */
    struct { size_t own, host_count, step; } domains[WORLD_DOMAINS_MAX];
};

void world_make(uint64_t seed, struct world *ret_world);
void world_finish(struct world *world);
/* Whether that server is one of the domain's. */
bool world_has_mx(const struct world *world, const char *domain, const char *mx);

#endif
