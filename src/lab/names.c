#include "lab/names.h"

#include "base/mem.h"
#include "os/timer.h"
#include "route/dns.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

enum { TTL_S = 300, DELAY_MS = 10, RECORDS_MAX = 100, RCODE_SERVFAIL = 2, RCODE_NXDOMAIN = 3, RCODE_REFUSED = 5, PREFERENCE_STEP = 10 };

struct asked {
    struct names *names;
    int id;
    char *name;
    int type;
    ub_callback_type fn;
    void *fn_arg;
    struct timer *timer;
    struct asked *next;
};

struct names { struct play *play; struct asked *first; int last_id; };

struct names *names_create(struct play *play)
{
    struct names *names = mem_alloc(sizeof *names);
    names->play = play;
    return names;
}

static void asked_free(struct asked *asked)
{
    struct asked **at = &asked->names->first;
    while (*at != asked)
        at = &(*at)->next;
    *at = asked->next;
    timer_free(&asked->timer);
    free(asked->name);
    free(asked);
}

/* ---- records, as libunbound gives them ---- */

struct records { char *data[RECORDS_MAX + 1]; int sizes[RECORDS_MAX + 1]; size_t count; };

static void add_record(struct records *records, const void *data, size_t size)
{
    if (records->count == RECORDS_MAX)
        return;
    records->data[records->count] = mem_copy_bytes(data, size);
    records->sizes[records->count++] = (int)size;
}

/* "20 mx2.example.org", "mx1.example.org"; "." is the root, which is the null MX (RFC 7505). */
static void add_mx(struct records *records, struct slice text, unsigned preference)
{
    uint8_t wire[300];
    size_t at = 2;
    uint64_t given;
    struct slice rest = text, first = slice_cut(&rest, ' ');
    if (slice_to_u64(first, &given) && given <= UINT16_MAX) {
        preference = (unsigned)given;
        text = slice_trim(rest);
    }
    if (slice_equals(text, SLICE(".")))
        text = SLICE("");
    if (text.size == 0)
        preference = 0;
    wire[0] = (uint8_t)(preference >> 8);
    wire[1] = (uint8_t)preference;
    while (text.size && at < DNS_NAME_SIZE) {
        struct slice label = slice_cut(&text, '.');
        if (label.size == 0 || label.size > 63 || at + label.size + 2 > DNS_NAME_SIZE)
            return;
        wire[at++] = (uint8_t)label.size;
        memcpy(wire + at, label.data, label.size);
        at += label.size;
    }
    wire[at++] = 0;
    add_record(records, wire, at);
}

static void add_addresses(struct records *records, const struct config_list *list, int type)
{
    unsigned char octets[16];
    for (size_t i = 0; i < list->count; i++)
        if (inet_pton(type == DNS_A ? AF_INET : AF_INET6, list->items[i], octets) == 1)
            add_record(records, octets, type == DNS_A ? 4 : 16);
}

/* ---- the answer ---- */

static bool has_answer(const struct lab_phase *phase, int what)
{
    (void)what;
    return phase->dns != LAB_UNSAID;
}

/* What of DNS as a whole is said counts before what is said of one name. */
static enum lab_dns state_of(struct play *play, const struct lab_phases *own)
{
    const struct lab_phases *all[] = {&play->scenario->dns, own};
    for (size_t i = 0; i < COUNT_OF(all) && all[i]; i++) {
        const struct lab_phase *phase = play_phase(play, all[i], has_answer, 0);
        if (phase && phase->dns != LAB_DNS_GOOD)
            return (enum lab_dns)phase->dns;
    }
    return LAB_DNS_GOOD;
}

static enum lab_dns find(struct play *play, const char *name, int type, struct records *records)
{
    const struct scenario *scenario = play->scenario;
    const struct lab_phases *phases = NULL;
    bool is_known = false;
    for (size_t i = 0; i < scenario->domain_count; i++) {
        const struct lab_domain *domain = &scenario->domains[i];
        if (strcasecmp(domain->name, name) != 0)
            continue;
        is_known = true;
        phases = &domain->phases;
        for (size_t k = 0; type == DNS_MX && k < domain->mx.count; k++)
            add_mx(records, slice_of(domain->mx.items[k]), PREFERENCE_STEP * (unsigned)(k + 1));
        if (type == DNS_A || type == DNS_AAAA)
            add_addresses(records, &domain->addresses, type);
    }
    for (size_t i = 0; i < scenario->host_count; i++) {
        const struct lab_host *host = &scenario->hosts[i];
        if (strcasecmp(host->name, name) != 0)
            continue;
        is_known = true;
        phases = phases ? phases : &host->phases;
        if (type == DNS_A || type == DNS_AAAA)
            add_addresses(records, &host->addresses, type);
    }
    enum lab_dns state = state_of(play, phases);
    return state == LAB_DNS_GOOD && !is_known ? LAB_DNS_NXDOMAIN : state;
}

static struct ub_result *make_result(const struct asked *asked, enum lab_dns state, struct records *records)
{
    struct ub_result *result = mem_alloc(sizeof *result);
    bool has_data = records->count && (state == LAB_DNS_GOOD || state == LAB_DNS_BOGUS);
    result->qname = mem_copy_text(asked->name);
    result->qtype = asked->type;
    result->qclass = 1;
    result->ttl = TTL_S;
    result->rcode = state == LAB_DNS_SERVFAIL   ? RCODE_SERVFAIL
                    : state == LAB_DNS_REFUSED  ? RCODE_REFUSED
                    : state == LAB_DNS_NXDOMAIN ? RCODE_NXDOMAIN
                                                : 0;
    result->nxdomain = state == LAB_DNS_NXDOMAIN;
    result->bogus = state == LAB_DNS_BOGUS;
    result->why_bogus = result->bogus ? mem_copy_text("the scenario says so") : NULL;
    result->havedata = has_data;
    if (has_data) {
        result->data = mem_alloc((records->count + 1) * sizeof *result->data);
        result->len = mem_alloc((records->count + 1) * sizeof *result->len);
        memcpy(result->data, records->data, records->count * sizeof *result->data);
        memcpy(result->len, records->sizes, records->count * sizeof *result->len);
    }
    for (size_t i = 0; !has_data && i < records->count; i++)
        free(records->data[i]);
    return result;
}

static void on_time(void *arg)
{
    struct asked *asked = arg;
    struct records records = {.count = 0};
    enum lab_dns state = find(asked->names->play, asked->name, asked->type, &records);
    struct ub_result *result = make_result(asked, state, &records);
    ub_callback_type fn = asked->fn;
    void *fn_arg = asked->fn_arg;
    if (state == LAB_DNS_SILENT) {
        ub_resolve_free(result);
        return; /* whoever asked gives up */
    }
    asked_free(asked);
    fn(fn_arg, 0, result);
}

/* ---- the resolver ---- */

static bool ask(void *arg, const char *name, int type, ub_callback_type fn, void *fn_arg, int *ret_id)
{
    struct names *names = arg;
    struct asked *asked = mem_alloc(sizeof *asked);
    *asked = (struct asked){.names = names, .id = *ret_id = ++names->last_id, .name = mem_copy_text(name), .type = type, .fn = fn,
                            .fn_arg = fn_arg, .next = names->first};
    names->first = asked;
    asked->timer = timer_make(names->play->base, on_time, asked);
    timer_set(asked->timer, play_delay_ms(names->play, &names->play->scenario->dns, DELAY_MS));
    return true;
}

static void cancel(void *arg, int id)
{
    struct names *names = arg;
    struct asked *asked = names->first;
    while (asked && asked->id != id)
        asked = asked->next;
    if (asked)
        asked_free(asked);
}

struct resolver names_resolver(struct names *names)
{
    return (struct resolver){ask, cancel, names};
}

void names_destroy(struct names **names)
{
    while (*names && (*names)->first)
        asked_free((*names)->first);
    free(*names);
    *names = NULL;
}
