#include "inbound/checks.h"

#include "inbound/spf_private.h"
#include "message/address.h"

static void split_sender(struct slice sender, struct slice *ret_local, struct slice *ret_domain)
{
    size_t at = sender.size;
    while (at > 0 && sender.data[at - 1] != '@')
        at--;
    *ret_local = slice_first(sender, at ? at - 1 : 0);
    *ret_domain = at ? slice_from(sender, at) : SLICE("");
}

/* The one domain of the one From field (dmarc.h R1); empty if there is none. */
static struct slice find_from(struct arena *arena, const struct header *header)
{
    struct address_list list;
    const struct header_field *from = header_find(header, SLICE("From"), 0);
    if (header_count(header, SLICE("From")) != 1 || !address_list_parse(arena, from->value, 100, &list, NULL) || list.count == 0)
        return SLICE("");
    for (size_t i = 1; i < list.count; i++)
        if (!slice_equals(list.items[i].domain, list.items[0].domain))
            return SLICE("");
    return list.items[0].domain;
}

static void read_signatures(struct checks *checks)
{
    for (size_t i = 0; i < checks->header.count && checks->signature_count < DKIM_SIGNATURES_MAX; i++)
        if (slice_equals_nocase(checks->header.fields[i].name, SLICE("DKIM-Signature")))
            (void)dkim_read(&checks->arena, &checks->header.fields[i], DKIM_SIGNATURE, checks->subject.now_ms,
                            &checks->signatures[checks->signature_count++]);
}

void checks_begin(struct checks *checks, const struct checks_options *options, const struct checks_subject *subject)
{
    struct header_limits limits = {subject->message.size, subject->message.size}; /* those of the listener were kept */
    *checks = (struct checks){.options = *options, .subject = *subject};
    checks->options.is_spf = options->is_spf || options->is_dmarc;
    checks->options.is_dkim = options->is_dkim || options->is_dmarc;
    if (!header_scan(&checks->arena, subject->message, &limits, &checks->header, NULL))
        checks->header = (struct header){.count = 0};
    checks->from_domain = find_from(&checks->arena, &checks->header);
    if (checks->options.is_dkim)
        read_signatures(checks);
    if (checks->options.is_arc)
        arc_read(&checks->arena, &checks->header, subject->now_ms, &checks->arc);
}

/* ---- each of them; true when it is decided ---- */

static bool run_iprev(struct checks *checks, struct spf_run *run)
{
    struct slice names[SPF_NAMES_MAX];
    size_t count;
    bool is_known = spf_validated_names(run, names, &count);
    if (!is_known && !count)
        return false;
    const struct lookup *reverse = lookup_get(&checks->lookups, spf_reverse_name(run), TYPE_PTR);
    if (count) {
        checks->iprev = IPREV_PASS;
        checks->client_name = arena_copy(&checks->arena, names[0]);
        return true;
    }
    checks->iprev = reverse->status == LOOKUP_FAILED || run->is_unsure ? IPREV_TEMPERROR : reverse->count ? IPREV_FAIL : IPREV_PERMERROR;
    return true;
}

static bool run_spf(struct checks *checks, const struct spf_query *query)
{
    checks->is_spf_of_helo = query->domain.size == 0;
    checks->spf_domain = checks->is_spf_of_helo ? query->helo : query->domain;
    checks->spf = spf_check(&checks->arena, query, &checks->lookups);
    return checks->spf.result != SPF_WAITS;
}

/* The key's records of a signature that isn't decided yet. False: it waits, or was decided because there are none. */
static bool find_keys(struct checks *checks, struct dkim_signature *signature, const struct lookup **ret_lookup)
{
    char name[DKIM_KEY_NAME_SIZE];
    dkim_key_name(signature, name);
    *ret_lookup = lookup_get(&checks->lookups, slice_of(name), TYPE_TXT);
    if (!*ret_lookup || (*ret_lookup)->status == LOOKUP_FOUND)
        return *ret_lookup != NULL;
    signature->result = (*ret_lookup)->status == LOOKUP_FAILED ? DKIM_TEMPERROR : DKIM_PERMERROR;
    signature->reason = (*ret_lookup)->status == LOOKUP_FAILED ? "DNS gave no usable answer for the key" : "no key under that name";
    return false;
}

static bool run_dkim(struct checks *checks)
{
    bool is_decided = true;
    for (size_t i = 0; i < checks->signature_count; i++) {
        struct dkim_signature *signature = &checks->signatures[i];
        const struct lookup *keys;
        if (signature->result == DKIM_NONE && find_keys(checks, signature, &keys))
            dkim_verify(&checks->arena, checks->subject.message, &checks->header, keys->records, keys->count, signature);
        is_decided = is_decided && signature->result != DKIM_NONE;
    }
    return is_decided;
}

static bool run_arc(struct checks *checks)
{
    struct dkim_signature *signature;
    bool is_waiting = false;
    for (size_t i = 0; (signature = arc_next(&checks->arc, i)) != NULL; i++) {
        const struct lookup *keys;
        if (signature->result == DKIM_NONE && find_keys(checks, signature, &keys))
            arc_verify(&checks->arena, checks->subject.message, &checks->header, keys->records, keys->count, &checks->arc, signature);
        is_waiting = is_waiting || signature->result == DKIM_NONE;
    }
    return !is_waiting;
}

bool checks_is_good(const struct dkim_signature *signature)
{
    return signature->result == DKIM_PASS && !signature->is_partial;
}

static bool run_dmarc(struct checks *checks)
{
    struct dmarc_identity identities[DKIM_SIGNATURES_MAX + 1];
    size_t count = 0;
    identities[count++] = (struct dmarc_identity){PROOF_SPF, checks->spf_domain, checks->spf.result == SPF_PASS,
                                                  checks->spf.result == SPF_TEMPERROR};
    for (size_t i = 0; i < checks->signature_count; i++)
        identities[count++] = (struct dmarc_identity){PROOF_DKIM, checks->signatures[i].domain, checks_is_good(&checks->signatures[i]),
                                                      checks->signatures[i].result == DKIM_TEMPERROR};
    checks->dmarc = dmarc_check(&checks->arena, checks->from_domain, identities, count, checks->options.suffixes,
                                checks->subject.dice, &checks->lookups);
    return checks->dmarc.result != DMARC_WAITS;
}

/* All ask at once: nothing waits for another one's answers but DMARC for the results it is made of. */
bool checks_run(struct checks *checks)
{
    const struct checks_options *options = &checks->options;
    struct spf_query query = {.client = checks->subject.client, .helo = checks->subject.helo, .host = slice_of(options->host)};
    split_sender(checks->subject.sender, &query.local, &query.domain);
    struct spf_run run = {.arena = &checks->arena, .query = &query, .lookups = &checks->lookups};
    bool is_decided = true;
    if (options->is_iprev)
        is_decided = run_iprev(checks, &run) && is_decided;
    if (options->is_spf)
        is_decided = run_spf(checks, &query) && is_decided;
    if (options->is_dkim)
        is_decided = run_dkim(checks) && is_decided;
    if (options->is_arc)
        is_decided = run_arc(checks) && is_decided;
    if (options->is_dmarc)
        is_decided = run_dmarc(checks) && is_decided;
    return is_decided;
}

void checks_finish(struct checks *checks)
{
    lookups_finish(&checks->lookups);
    arena_finish(&checks->arena);
}

const char *iprev_result_name(enum iprev_result result)
{
    static const char *const names[] = {"waits", "pass", "fail", "temperror", "permerror"};
    return names[result];
}
