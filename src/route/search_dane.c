/* TLSA of the hosts of a route: N10, RFC 7672 2.2.2 and 2.2.3. */
#include "route/search_private.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

static void conclude(struct candidate *host, enum dane_state state, const char *name)
{
    dane_release(&host->dane);
    host->dane = mem_alloc(sizeof *host->dane);
    host->dane->state = state;
    host->dane->name = mem_copy_text(name);
    host->dane->references = 1;
}

static void fail(struct search *search, struct candidate *host)
{
    conclude(host, DANE_FAILED, host->name);
    search->ttl_s = TTL_TEMPORARY_S;
}

static void ask(struct search *search, size_t place, enum dane_step step)
{
    struct candidate *host = &search->hosts[place];
    char name[DNS_NAME_SIZE + 16];
    const char *base = step == DANE_AT_CANONICAL ? host->canonical : host->name;
    host->dane_step = step;
    if (step == DANE_ALIAS)
        (void)snprintf(name, sizeof name, "%s", base);
    else
        (void)snprintf(name, sizeof name, "_%d._tcp.%s", host->port, base);
    conclude(host, DANE_FAILED, base); /* until it is answered */
    if (!search_ask(search, name, step == DANE_ALIAS ? DNS_CNAME : DNS_TLSA, place))
        fail(search, host);
}

void search_dane_start(struct search *search)
{
    if (!search->router->config->delivery.is_dane)
        return;
    for (size_t i = 0; i < search->host_count; i++) {
        const struct candidate *host = &search->hosts[i];
        if (!host->is_vouched || !(host->has_secure || host->has_insecure))
            continue;
        if (!host->has_insecure)
            ask(search, i, host->canonical ? DANE_AT_CANONICAL : DANE_AT_NAME);
        else if (host->canonical && dns_is_validating(search->router->config))
            ask(search, i, DANE_ALIAS);
    }
}

/* The usable records, with their data in one piece behind them. */
static void take_records(struct candidate *host, const struct ub_result *result)
{
    size_t count = 0, size = 0;
    struct tlsa tlsa;
    for (size_t i = 0; result->data[i]; i++)
        if (tlsa_parse((const uint8_t *)result->data[i], (size_t)result->len[i], &tlsa)) {
            count++;
            size += tlsa.size;
        }
    host->dane->state = count ? DANE_USABLE : DANE_UNUSABLE;
    if (count == 0)
        return;
    host->dane->records = mem_alloc(count * sizeof tlsa + size);
    uint8_t *data = (uint8_t *)(host->dane->records + count);
    for (size_t i = 0; result->data[i]; i++) {
        if (!tlsa_parse((const uint8_t *)result->data[i], (size_t)result->len[i], &tlsa))
            continue;
        memcpy(data, tlsa.data, tlsa.size);
        tlsa.data = data;
        data += tlsa.size;
        host->dane->records[host->dane->count++] = tlsa;
    }
}

void search_dane_answer(struct search *search, size_t place, int type, const struct ub_result *result)
{
    struct candidate *host = &search->hosts[place];
    if (!result || result->bogus || (result->rcode != 0 && result->rcode != RCODE_NXDOMAIN)) {
        fail(search, host);
        return;
    }
    if (result->ttl > 0 && result->ttl < search->ttl_s)
        search->ttl_s = result->ttl;
    if (type == DNS_CNAME) {
        dane_release(&host->dane);
        if (result->havedata && result->secure)
            ask(search, place, DANE_AT_NAME);
    } else if (result->havedata && result->secure) {
        take_records(host, result);
    } else {
        dane_release(&host->dane);
        if (host->dane_step == DANE_AT_CANONICAL)
            ask(search, place, DANE_AT_NAME);
    }
}

void search_dane_give_up(struct search *search)
{
    if (!search->is_dane_asked)
        search_dane_start(search); /* what begins now ends with the search: failed where it would have counted */
}
