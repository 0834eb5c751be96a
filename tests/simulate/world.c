#include "world.h"

#include "dice.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DAY_M = 24 * 60, SENDERS = 3 };

static void put_config(struct buf *out, struct dice *dice)
{
    int expire_h = dice_roll(dice, 4, 36);
    buf_printf(out,
               "config {\n    queue.retry_first = %dm\n    queue.retry_second = %dm\n    queue.retry_third = %dm\n    queue.retry_subsequent = %dm\n",
               dice_roll(dice, 1, 10), dice_roll(dice, 5, 20), dice_roll(dice, 10, 40), dice_roll(dice, 20, 90));
    buf_printf(out, "    queue.expire = %dh\n    queue.null_sender_expire = %dh\n    queue.delay_notice = %dh\n    queue.jitter = %d\n", expire_h,
               dice_roll(dice, 2, expire_h), dice_roll(dice, 1, 5), dice_roll(dice, 0, 30));
    buf_printf(out, "    delivery.connections_per_site = %d\n    delivery.messages_per_connection = %d\n    delivery.recipients_per_message = %d\n",
               dice_roll(dice, 1, 8), dice_roll(dice, 1, 40), dice_roll(dice, 1, 5));
    buf_printf(out, "    delivery.tune = %s\n    delivery.pipelining = %s\n}\n\n", dice_roll(dice, 0, 1) ? "true" : "false",
               dice_roll(dice, 0, 2) ? "true" : "false");
}

/* ---- servers ---- */

static const char *const moods[] = {
    "connect = refused", "connect = unreachable", "connect = silent", "connect = close", "connect = \"421 4.3.2 Service not available\"",
    "connect = \"554 5.7.1 No service for you\"", "ehlo = \"421 4.7.0 Come back later\"", "ehlo = close", "mail = \"451 4.3.0 Not now\"",
    "mail = \"550 5.7.1 Sender refused\"", "mail = close", "rcpt = \"450 4.2.1 Mailbox busy\"", "rcpt = \"550 5.1.1 No such user\"",
    "rcpt = \"452 4.5.3 Too many recipients\"", "rcpt = close", "rcpt = silent", "data = \"451 4.3.1 No room\"", "data = close",
    "message = \"452 4.3.1 Insufficient system storage\"", "message = \"554 5.6.0 Content refused\"", "message = close", "message = lost",
    "message = lost", "message = silent", "tls = broken", "tls = expired", "tls = none", "delay = 40s", "delay = 5s",
    "connect = \"421 4.7.0 Too many connections from your address\"", "mail = \"421 4.7.28 Unusual rate of mail from your address\"",
};

static void put_during(struct buf *out, struct dice *dice, const char *what, bool is_always)
{
    int from_m = dice_roll(dice, 0, DAY_M), length_m = dice_roll(dice, 0, 1) ? dice_roll(dice, 5, 60) : dice_roll(dice, 60, 600);
    buf_printf(out, "    during \"%dm to %dm\" { %s; chance = %d }\n", from_m, from_m + length_m, what,
               dice_roll(dice, 0, 2) && !is_always ? dice_roll(dice, 5, 60) : 100);
}

static void put_host(struct buf *out, struct dice *dice, size_t domain, size_t number)
{
    buf_printf(out, "host \"mx%zu.d%zu.test\" {\n", number, domain);
    if (dice_roll(dice, 0, 7) == 0)
        buf_printf(out, "    greylist = %dm\n", dice_roll(dice, 2, 40));
    if (dice_roll(dice, 0, 7) == 0)
        buf_printf(out, "    connections = %d\n", dice_roll(dice, 1, 4));
    if (dice_roll(dice, 0, 7) == 0)
        buf_printf(out, "    rate = \"%d/%dm\"\n", dice_roll(dice, 2, 20), dice_roll(dice, 1, 10));
    if (dice_roll(dice, 0, 5) == 0)
        buf_printf(out, "    mailbox \"u1@d%zu.test\" = \"550 5.1.1 No such user\"\n", domain);
    if (dice_roll(dice, 0, 5) == 0)
        buf_printf(out, "    address = \"2001:db8::%zu:%zu, 192.0.2.%zu\"\n", domain + 1, number, 100 + 10 * domain + number);
    for (int i = dice_roll(dice, 0, 4); i > 0; i--)
        put_during(out, dice, moods[dice_roll(dice, 0, (int)COUNT_OF(moods) - 1)], false);
    buf_append_text(out, "}\n");
}

static void put_domain(struct world *world, struct dice *dice, size_t domain)
{
    static const char *const faults[] = {"dns = servfail", "dns = silent", "dns = refused", "dns = bogus"};
    struct buf *out = &world->scenario;
    int kind = dice_roll(dice, 0, 19);
    bool is_shared = domain > 0 && kind == 3;
    size_t own = is_shared ? (size_t)dice_roll(dice, 0, (int)domain - 1) : domain;
    own = world->domains[own].own;
    if (!is_shared)
        own = domain;
    world->domains[domain].own = own;
    world->domains[domain].host_count = kind < 2 ? 0 : own == domain ? (size_t)dice_roll(dice, 1, WORLD_HOSTS_MAX) : world->domains[own].host_count;
    buf_printf(out, "domain \"d%zu.test\" {\n", domain);
    if (kind == 0)
        buf_append_text(out, "    mx = \".\"\n");
    else if (kind == 1)
        buf_append_text(out, "    dns = nxdomain\n");
    else if (world->domains[domain].host_count) {
        world->domains[domain].step = own != domain ? world->domains[own].step : dice_roll(dice, 0, 2) ? 10 : 0;
        buf_append_text(out, "    mx = \"");
        for (size_t i = 0; i < world->domains[domain].host_count; i++)
            buf_printf(out, "%s%zu mx%zu.d%zu.test", i ? ", " : "", 10 + i * world->domains[domain].step, i, own);
        buf_append_text(out, "\"\n");
    }
    for (int i = dice_roll(dice, 0, 5) == 0 ? dice_roll(dice, 1, 2) : 0; i > 0; i--)
        put_during(out, dice, faults[dice_roll(dice, 0, (int)COUNT_OF(faults) - 1)], false);
    buf_append_text(out, "}\n");
    for (size_t i = 0; own == domain && i < world->domains[domain].host_count; i++)
        put_host(out, dice, domain, i);
    buf_append_byte(out, '\n');
}

/* ---- mail ---- */

static void put_send(const struct world *world, struct buf *out, struct dice *dice, size_t number)
{
    static const char *const senders[SENDERS] = {"app@sender0.test", "shop@sender1.test", ""};
    int first = dice_roll(dice, 0, 5), count = dice_roll(dice, 1, 4);
    buf_printf(out, "send \"s%zu\" { from = \"%s\"; to = \"", number, senders[dice_roll(dice, 0, 9) == 0 ? 2 : dice_roll(dice, 0, 1)]);
    for (int i = 0; i < count; i++)
        buf_printf(out, "%su%d@d%d.test", i ? ", " : "", first + i, dice_roll(dice, 0, (int)world->domain_count - 1));
    buf_printf(out, "\"; at = %dm; count = %d; every = %ds; size = %dKB }\n", dice_roll(dice, 0, DAY_M), dice_roll(dice, 1, 8),
               dice_roll(dice, 0, 3) ? dice_roll(dice, 1, 3600) : 0, dice_roll(dice, 0, 9) ? dice_roll(dice, 0, 3) : dice_roll(dice, 130, 200));
}

static void put_steps(struct buf *out, struct dice *dice)
{
    int kills = dice_roll(dice, 0, 3), restarts = dice_roll(dice, 0, 2);
    for (int i = 0; i < kills; i++)
        buf_printf(out, "step \"kill %d\" { do = kill; at = %dm%ds }\n", i, dice_roll(dice, 0, DAY_M), dice_roll(dice, 0, 59));
    for (int i = 0; i < restarts; i++)
        buf_printf(out, "step \"restart %d\" { do = restart; at = %dm%ds }\n", i, dice_roll(dice, 0, DAY_M), dice_roll(dice, 0, 59));
    if (dice_roll(dice, 0, 3) == 0)
        buf_printf(out, "step \"disk\" { do = disk-full; at = %dm; for = %dm }\n", dice_roll(dice, 0, DAY_M), dice_roll(dice, 1, 90));
    if (dice_roll(dice, 0, 5) == 0)
        buf_printf(out, "step \"clock\" { do = clock; at = %dm; %s = %dm }\n", dice_roll(dice, 0, DAY_M), dice_roll(dice, 0, 1) ? "forward" : "back",
                   dice_roll(dice, 2, 2 * DAY_M));
}

void world_make(uint64_t seed, struct world *ret_world)
{
    struct dice dice = dice_make(seed);
    struct buf *out = &ret_world->scenario;
    *ret_world = (struct world){.domain_count = (size_t)dice_roll(&dice, 2, WORLD_DOMAINS_MAX)};
    buf_printf(out, "title = \"seed %llu\"\nseed = %llu\n", (unsigned long long)seed, (unsigned long long)(seed % INT32_MAX));
    put_config(out, &dice);
    for (size_t i = 0; i < ret_world->domain_count; i++)
        put_domain(ret_world, &dice, i);
    if (dice_roll(&dice, 0, 4) == 0) {
        buf_append_text(out, "dns {\n");
        /* All of it: half of a host's addresses would be a site of its own (route.h N9), and so have connections of its own. */
        put_during(out, &dice, dice_roll(&dice, 0, 1) ? "answer = silent" : "answer = servfail", true);
        buf_append_text(out, "}\n");
    }
    size_t sends = (size_t)dice_roll(&dice, 5, 25);
    for (size_t i = 0; i < sends; i++)
        put_send(ret_world, out, &dice, i);
    put_steps(out, &dice);
}

void world_finish(struct world *world)
{
    buf_finish(&world->scenario);
}

bool world_has_mx(const struct world *world, const char *domain, const char *mx)
{
    size_t number, host, own;
    int end = 0;
    if (strncmp(domain, "sender", 6) == 0)
        return strncmp(mx, "mx.", 3) == 0 && strcmp(mx + 3, domain) == 0;
    if (sscanf(domain, "d%zu.test%n", &number, &end) != 1 || domain[end] || number >= world->domain_count)
        return false;
    return sscanf(mx, "mx%zu.d%zu.test%n", &host, &own, &end) == 2 && !mx[end] && own == world->domains[number].own
           && host < world->domains[number].host_count;
}
