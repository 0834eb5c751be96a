/* Crowds: a site that hangs or is slow while much waits for it may fill only its part of limits.active. What more there is for
 * it stays in the queue, so that others' mail finds room in memory; once the site has worked off half of its part, the loader
 * looks again. Which domains lead to such a site is noted as they come: the loader knows rows of the queue by their domains. */
#include "relay/relay_private.h"

#include "base/mem.h"

#include <stdlib.h>

enum { PARTS = 4 };

struct crowd { struct slice domain; struct site *site; UT_hash_handle hh; }; /* the domain's octets lie behind it */

static size_t part(const struct relay *relay)
{
    return (size_t)relay->config->limits.active / PARTS + 1;
}

bool crowd_has(const struct relay *relay, struct slice domain)
{
    struct crowd *crowd;
    if (!relay->crowds)
        return false;
    HASH_FIND(hh, relay->crowds, domain.data, domain.size, crowd);
    return crowd != NULL;
}

bool crowd_has_all(const struct relay *relay, const struct queued *queued)
{
    for (size_t i = 0; i < queued->recipient_count; i++)
        if (!crowd_has(relay, queued->recipients[i].domain))
            return false;
    return true;
}

size_t crowd_buckets(const struct relay *relay, bool buckets[NODE_BUCKETS])
{
    struct crowd *crowd, *next;
    HASH_ITER(hh, relay->crowds, crowd, next)
        buckets[node_bucket(crowd->domain)] = true;
    return HASH_COUNT(relay->crowds);
}

void crowd_joined(struct site *site, struct slice domain)
{
    struct relay *relay = site->relay;
    if (site->waiting <= part(relay) || crowd_has(relay, domain))
        return;
    struct crowd *crowd = mem_alloc(sizeof *crowd + domain.size + 1);
    char *copy = (char *)(crowd + 1);
    memcpy(copy, domain.data, domain.size);
    crowd->domain = slice_make(copy, domain.size);
    crowd->site = site;
    HASH_ADD_KEYPTR(hh, relay->crowds, crowd->domain.data, crowd->domain.size, crowd);
    site->is_crowded = true;
}

void crowd_forget(struct site *site)
{
    struct crowd *crowd, *next;
    HASH_ITER(hh, site->relay->crowds, crowd, next) {
        if (crowd->site == site) {
            HASH_DEL(site->relay->crowds, crowd);
            free(crowd);
        }
    }
    site->is_crowded = false;
}

void crowd_left(struct site *site)
{
    if (!site->is_crowded || site->waiting > part(site->relay) / 2)
        return;
    crowd_forget(site);
    site->relay->is_behind = true;
    site->relay->load.rests_until_ms = 0;
    relay_soon(site->relay);
}
