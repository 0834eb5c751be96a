#include "inbound/spf_private.h"

#include "message/address.h"

#include <stdio.h>

enum match { MATCH_NO, MATCH_YES, MATCH_WAITS, MATCH_TEMPERROR, MATCH_PERMERROR };

static enum spf_result check_host(struct spf_run *run, struct slice domain);

bool spf_is_v4(const struct in6_addr *address) { return IN6_IS_ADDR_V4MAPPED(address); }

/* ---- names and addresses ---- */

/* What can be asked for: a backslash would mean something else to the resolver. */
static bool is_name(struct slice name)
{
    size_t label = 0;
    for (size_t i = 0; i < name.size; i++) {
        label = name.data[i] == '.' ? 0 : label + 1;
        if (label > 63 || (label == 0 && (i == 0 || name.data[i - 1] == '.')) || name.data[i] < 0x21 || name.data[i] > 0x7e || name.data[i] == '\\')
            return false;
    }
    return name.size > 0 && name.size <= 253 && slice_find_byte(name, '.') >= 0;
}

static bool is_within(const unsigned char *address, const unsigned char *network, unsigned bits)
{
    unsigned whole = bits / 8, mask = 0xff00u >> bits % 8 & 0xff;
    return memcmp(address, network, whole) == 0 && (bits % 8 == 0 || ((address[whole] ^ network[whole]) & mask) == 0);
}

/* Whether the client's address is among those of an A or AAAA answer, as far as the prefix goes. */
static bool has_client(const struct spf_run *run, const struct lookup *lookup, unsigned bits4, unsigned bits6)
{
    const unsigned char *client = run->query->client.s6_addr;
    bool is_v4 = spf_is_v4(&run->query->client);
    for (size_t i = 0; i < lookup->count; i++)
        if (lookup->records[i].size == (is_v4 ? 4 : 16)
            && is_within(is_v4 ? client + 12 : client, (const unsigned char *)lookup->records[i].data, is_v4 ? bits4 : bits6))
            return true;
    return false;
}

static int address_type(const struct spf_run *run) { return spf_is_v4(&run->query->client) ? TYPE_A : TYPE_AAAA; }

struct slice spf_reverse_name(struct spf_run *run)
{
    const unsigned char *octets = run->query->client.s6_addr;
    if (spf_is_v4(&run->query->client))
        return arena_printf(run->arena, "%d.%d.%d.%d.in-addr.arpa", octets[15], octets[14], octets[13], octets[12]);
    char *text = arena_alloc(run->arena, 80);
    for (size_t i = 0; i < 16; i++)
        (void)snprintf(text + 4 * i, 5, "%x.%x.", octets[15 - i] & 15, octets[15 - i] >> 4);
    (void)snprintf(text + 64, 16, "ip6.arpa");
    return slice_of(text);
}

bool spf_validated_names(struct spf_run *run, struct slice *names, size_t *ret_count)
{
    const struct lookup *reverse = lookup_get(run->lookups, spf_reverse_name(run), TYPE_PTR);
    bool is_waiting = reverse == NULL;
    *ret_count = 0;
    for (size_t i = 0; reverse && i < reverse->count && i < SPF_NAMES_MAX; i++) {
        if (!is_name(reverse->records[i]))
            continue;
        const struct lookup *forward = lookup_get(run->lookups, reverse->records[i], address_type(run));
        if (forward && has_client(run, forward, 32, 128))
            names[(*ret_count)++] = reverse->records[i];
        if (forward && forward->status == LOOKUP_FAILED)
            run->is_unsure = true;
        is_waiting = is_waiting || !forward;
    }
    return !is_waiting;
}

/* ---- DNS, with the limits of 4.6.4 ---- */

static enum match permerror(struct spf_run *run, const char *reason)
{
    run->reason = reason;
    return MATCH_PERMERROR;
}

/* NO: answered, with or without records. */
static enum match ask(struct spf_run *run, struct slice name, int type, const struct lookup **ret_lookup)
{
    *ret_lookup = lookup_get(run->lookups, name, type);
    if (!*ret_lookup)
        return MATCH_WAITS;
    if ((*ret_lookup)->status == LOOKUP_FAILED) {
        run->reason = "DNS gave no usable answer";
        return MATCH_TEMPERROR;
    }
    if ((*ret_lookup)->status == LOOKUP_NONE && ++run->voids > SPF_VOIDS_MAX)
        return permerror(run, "too many answers without records");
    return MATCH_NO;
}

/* ---- mechanisms ---- */

static enum match match_a(struct spf_run *run, const struct spf_term *term, struct slice name)
{
    const struct lookup *lookup;
    enum match match = ask(run, name, address_type(run), &lookup);
    return match == MATCH_NO && has_client(run, lookup, term->bits4, term->bits6) ? MATCH_YES : match;
}

static enum match match_mx(struct spf_run *run, const struct spf_term *term, struct slice name)
{
    const struct lookup *hosts;
    bool is_waiting = false;
    enum match match = ask(run, name, TYPE_MX, &hosts);
    if (match != MATCH_NO)
        return match;
    if (hosts->count > SPF_NAMES_MAX)
        return permerror(run, "more than 10 MX hosts");
    for (size_t i = 0; i < hosts->count; i++) {
        if (!is_name(hosts->records[i]))
            continue; /* a null MX is none either */
        match = match_a(run, term, hosts->records[i]);
        if (match != MATCH_NO && match != MATCH_WAITS)
            return match;
        is_waiting = is_waiting || match == MATCH_WAITS; /* all are asked at once */
    }
    return is_waiting ? MATCH_WAITS : MATCH_NO;
}

static enum match match_ptr(struct spf_run *run, struct slice target)
{
    struct slice names[SPF_NAMES_MAX];
    size_t count;
    if (!spf_validated_names(run, names, &count))
        return MATCH_WAITS;
    for (size_t i = 0; i < count; i++)
        if (slice_equals_nocase(names[i], target) || address_is_below(names[i], target))
            return MATCH_YES;
    return MATCH_NO;
}

static enum match match_exists(struct spf_run *run, struct slice name)
{
    const struct lookup *lookup;
    enum match match = ask(run, name, TYPE_A, &lookup);
    return match == MATCH_NO && lookup->status == LOOKUP_FOUND ? MATCH_YES : match;
}

/* 5.2 */
static enum match match_include(struct spf_run *run, struct slice name)
{
    switch (check_host(run, name)) {
    case SPF_WAITS: return MATCH_WAITS;
    case SPF_PASS: return MATCH_YES;
    case SPF_FAIL:
    case SPF_SOFTFAIL:
    case SPF_NEUTRAL: return MATCH_NO;
    case SPF_TEMPERROR: return MATCH_TEMPERROR;
    case SPF_NONE: return permerror(run, "an included domain has no record");
    case SPF_PERMERROR: break;
    }
    return MATCH_PERMERROR;
}

static enum match match_address(const struct spf_run *run, const struct spf_term *term)
{
    const unsigned char *client = run->query->client.s6_addr;
    bool is_v4 = spf_is_v4(&run->query->client);
    if (is_v4 != (term->kind == TERM_IP4))
        return MATCH_NO;
    return (is_v4 ? is_within(client + 12, &term->address.s6_addr[12], term->bits4)
                  : is_within(client, term->address.s6_addr, term->bits6)) ? MATCH_YES : MATCH_NO;
}

static enum match match_term(struct spf_run *run, const struct spf_term *term, struct slice domain)
{
    struct slice name = domain;
    if (term->kind == TERM_ALL)
        return MATCH_YES;
    if (term->kind == TERM_IP4 || term->kind == TERM_IP6)
        return match_address(run, term);
    if (++run->asking > SPF_ASKING_MAX)
        return permerror(run, "more than 10 terms that ask DNS");
    if (!slice_is_absent(term->domain) && !spf_macro_expand(run, term->domain, domain, &name))
        return MATCH_WAITS;
    if (term->kind == TERM_INCLUDE)
        return match_include(run, name);
    if (!is_name(name))
        return MATCH_NO; /* 4.8 */
    switch (term->kind) {
    case TERM_A: return match_a(run, term, name);
    case TERM_MX: return match_mx(run, term, name);
    case TERM_PTR: return match_ptr(run, name);
    default: return match_exists(run, name);
    }
}

/* ---- records ---- */

static bool is_spf(struct slice text)
{
    return slice_starts_nocase(text, SLICE("v=spf1")) && (text.size == 6 || text.data[6] == ' ');
}

static enum spf_result find_record(struct spf_run *run, struct slice domain, struct slice *ret_text)
{
    const struct lookup *lookup = lookup_get(run->lookups, domain, TYPE_TXT);
    size_t count = 0;
    if (!lookup)
        return SPF_WAITS;
    if (lookup->status == LOOKUP_FAILED) {
        run->reason = "DNS gave no usable answer";
        return SPF_TEMPERROR;
    }
    for (size_t i = 0; i < lookup->count; i++)
        if (is_spf(lookup->records[i])) {
            *ret_text = lookup->records[i];
            count++;
        }
    if (count > 1)
        run->reason = "more than one record";
    return count == 0 ? SPF_NONE : count == 1 ? SPF_PASS : SPF_PERMERROR;
}

static enum spf_result follow_redirect(struct spf_run *run, struct slice redirect, struct slice domain)
{
    struct slice name;
    if (++run->asking > SPF_ASKING_MAX) {
        run->reason = "more than 10 terms that ask DNS";
        return SPF_PERMERROR;
    }
    if (!spf_macro_expand(run, redirect, domain, &name))
        return SPF_WAITS;
    enum spf_result result = check_host(run, name);
    if (result != SPF_NONE)
        return result;
    run->reason = "the domain of redirect= has no record";
    return SPF_PERMERROR;
}

/* 4; its depth is bounded by the terms that ask. */
static enum spf_result check_host(struct spf_run *run, struct slice domain)
{
    struct spf_record record;
    struct slice text;
    if (!is_name(domain))
        return SPF_NONE;
    enum spf_result result = find_record(run, domain, &text);
    if (result != SPF_PASS)
        return result;
    const char *fault = spf_record_parse(run->arena, text, &record);
    if (fault) {
        run->reason = fault;
        return SPF_PERMERROR;
    }
    for (size_t i = 0; i < record.count; i++) {
        switch (match_term(run, &record.terms[i], domain)) {
        case MATCH_NO: break;
        case MATCH_YES: return record.terms[i].qualifier;
        case MATCH_WAITS: return SPF_WAITS;
        case MATCH_TEMPERROR: return SPF_TEMPERROR;
        case MATCH_PERMERROR: return SPF_PERMERROR;
        }
    }
    return slice_is_absent(record.redirect) ? SPF_NEUTRAL : follow_redirect(run, record.redirect, domain);
}

struct spf_answer spf_check(struct arena *arena, const struct spf_query *query, struct lookups *lookups)
{
    bool is_null = query->domain.size == 0;
    struct spf_run run = {
        .arena = arena, .query = query, .lookups = lookups,
        .local = is_null || query->local.size == 0 ? SLICE("postmaster") : query->local,
        .sender_domain = is_null ? query->helo : query->domain,
    };
    enum spf_result result = check_host(&run, run.sender_domain);
    bool is_reasoned = result == SPF_TEMPERROR || result == SPF_PERMERROR;
    return (struct spf_answer){result, is_reasoned ? run.reason : NULL};
}

const char *spf_result_name(enum spf_result result)
{
    static const char *const names[] = {"waits", "none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"};
    return names[result];
}
