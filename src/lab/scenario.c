#include "lab/scenario.h"

#include "base/mem.h"
#include "config/parse.h"
#include "config/value.h"
#include "lab/scenario_private.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const tls_names[] = {"good", "none", "expired", "other-name", "unknown", "broken", NULL};
static const char *const dns_names[] = {"good", "servfail", "refused", "nxdomain", "bogus", "silent", NULL};
static const char *const deed_names[] = {"restart", "kill", "disk-full", "clock", NULL};

#define YEAR_MS (366LL * 24 * 3600 * 1000)
#define PHASE(field) offsetof(struct lab_phase, field)
#define HOST(field) offsetof(struct lab_host, field)
#define DOMAIN(field) offsetof(struct lab_domain, field)
#define SEND(field) offsetof(struct lab_send, field)
#define STEP(field) offsetof(struct lab_step, field)
#define SCENARIO(field) offsetof(struct scenario, field)

static const struct config_key phase_keys[] = {
    {"connect", KEY_TEXT, PHASE(says[LAB_CONNECT]), 0, 0, NULL, NULL}, {"ehlo", KEY_TEXT, PHASE(says[LAB_EHLO]), 0, 0, NULL, NULL},
    {"mail", KEY_TEXT, PHASE(says[LAB_MAIL]), 0, 0, NULL, NULL},       {"rcpt", KEY_TEXT, PHASE(says[LAB_RCPT]), 0, 0, NULL, NULL},
    {"data", KEY_TEXT, PHASE(says[LAB_DATA]), 0, 0, NULL, NULL},       {"message", KEY_TEXT, PHASE(says[LAB_MESSAGE]), 0, 0, NULL, NULL},
    {"delay", KEY_DURATION, PHASE(delay_ms), 0, YEAR_MS, NULL, NULL},  {"chance", KEY_INT, PHASE(chance), 0, 100, NULL, NULL},
    {"tls", KEY_ENUM, PHASE(tls), 0, 0, NULL, tls_names},              {"dns", KEY_ENUM, PHASE(dns), 0, 0, NULL, dns_names},
};
static const struct config_key host_keys[] = {
    {"address", KEY_LIST, HOST(addresses), 0, 0, NULL, NULL},      {"greylist", KEY_DURATION, HOST(greylist_ms), 0, YEAR_MS, NULL, NULL},
    {"connections", KEY_INT, HOST(connections_max), 0, 100000, NULL, NULL}, {"rate", KEY_RATE, HOST(rates), 0, 0, NULL, NULL},
    {"over_rate", KEY_TEXT, HOST(rate_says), 0, 0, NULL, NULL},
};
static const struct config_key domain_keys[] = {
    {"mx", KEY_LIST, DOMAIN(mx), 0, 0, NULL, NULL}, {"address", KEY_LIST, DOMAIN(addresses), 0, 0, NULL, NULL},
};
static const struct config_key send_keys[] = {
    {"from", KEY_TEXT, SEND(from), 0, 0, NULL, NULL},              {"to", KEY_LIST, SEND(to), 0, 0, NULL, NULL},
    {"at", KEY_DURATION, SEND(at_ms), 0, YEAR_MS, NULL, NULL},     {"every", KEY_DURATION, SEND(every_ms), 0, YEAR_MS, NULL, NULL},
    {"count", KEY_INT, SEND(count), 1, 100000, NULL, NULL},        {"size", KEY_SIZE, SEND(size), 0, 10 << 20, NULL, NULL},
};
static const struct config_key step_keys[] = {
    {"do", KEY_ENUM, STEP(deed), 0, 0, NULL, deed_names},          {"at", KEY_DURATION, STEP(at_ms), 0, YEAR_MS, NULL, NULL},
    {"for", KEY_DURATION, STEP(for_ms), 0, YEAR_MS, NULL, NULL},   {"forward", KEY_DURATION, STEP(forward_ms), 0, YEAR_MS, NULL, NULL},
    {"back", KEY_DURATION, STEP(back_ms), 0, YEAR_MS, NULL, NULL},
};
static const struct config_key own_keys[] = {
    {"title", KEY_TEXT, SCENARIO(title), 0, 0, NULL, NULL}, {"end", KEY_DURATION, SCENARIO(end_ms), 1, YEAR_MS, NULL, NULL},
    {"seed", KEY_INT, SCENARIO(seed), 0, INT32_MAX, NULL, NULL},
};

struct keys { const struct config_key *items; size_t count; };
#define KEYS(table) ((struct keys){table, COUNT_OF(table)})

struct reading { struct scenario *scenario; const char *place; struct buf *report; size_t mistakes; };

static void complain(struct reading *reading, size_t line, const char *name, const char *text)
{
    buf_printf(reading->report, "%s:%zu: %s: %s\n", reading->place, line, name, text);
    reading->mistakes++;
}

static const struct config_key *key_find(struct keys keys, struct slice name)
{
    for (size_t i = 0; i < keys.count; i++)
        if (slice_equals(name, slice_of(keys.items[i].name)))
            return &keys.items[i]; // cppcheck-suppress returnDanglingLifetime ; the tables are static
    return NULL;
}

static bool unknown(struct slice name, struct keys keys, struct keys more, struct error *error)
{
    struct buf known = {0};
    for (size_t i = 0; i < keys.count + more.count; i++)
        buf_printf(&known, "%s%s", i ? ", " : "", i < keys.count ? keys.items[i].name : more.items[i - keys.count].name);
    (void)error_set(error, "unknown key \"%.*s\"; accepted: %s", SLICE_FMT(name), buf_text(&known));
    buf_finish(&known);
    return false;
}

/* ---- sections ---- */

static struct lab_phase *phase_add(struct lab_phases *phases, struct lab_span span)
{
    phases->items = mem_resize(phases->items, (phases->count + 1) * sizeof *phases->items);
    struct lab_phase *phase = &phases->items[phases->count++];
    *phase = (struct lab_phase){.span = span, .chance = 100, .delay_ms = LAB_UNSAID, .tls = LAB_UNSAID, .dns = LAB_UNSAID};
    return phase;
}

static struct lab_phase *phase_get(struct lab_phases *phases, struct lab_span span)
{
    for (size_t i = phases->count; i-- > 1;)
        if (phases->items[i].span.from_ms == span.from_ms && phases->items[i].span.to_ms == span.to_ms)
            return &phases->items[i];
    return phase_add(phases, span);
}

/* The item of that name in a list of structs whose first member is it; made if it isn't there. */
static void *item_get(void *list, size_t *count, size_t size, struct slice name)
{
    char **items = list;
    for (size_t i = 0; i < *count; i++)
        if (slice_equals(name, slice_of(*(char **)(void *)(*items + i * size))))
            return *items + i * size;
    *items = mem_resize(*items, (*count + 1) * size);
    char *item = *items + (*count)++ * size;
    memset(item, 0, size);
    *(char **)(void *)item = slice_copy(name);
    return item;
}

static struct lab_host *host_get(struct scenario *scenario, struct slice name)
{
    struct lab_host *host = item_get(&scenario->hosts, &scenario->host_count, sizeof *host, name);
    if (host->phases.count == 0)
        (void)phase_add(&host->phases, (struct lab_span){0, INT64_MAX});
    return host;
}

static struct lab_domain *domain_get(struct scenario *scenario, struct slice name)
{
    struct lab_domain *domain = item_get(&scenario->domains, &scenario->domain_count, sizeof *domain, name);
    if (domain->phases.count == 0)
        (void)phase_add(&domain->phases, (struct lab_span){0, INT64_MAX});
    return domain;
}

/* "NAME.during.10m to 2h" -> NAME; absent if it has none. */
static struct slice cut_during(struct slice *name)
{
    ptrdiff_t at = slice_find(*name, SLICE(".during."));
    size_t skipped = 8;
    if (at < 0 && slice_starts(*name, SLICE("during."))) { /* of dns, which has no name */
        at = 0;
        skipped = 7;
    }
    if (at < 0)
        return SLICE_NONE;
    struct slice span = slice_from(*name, (size_t)at + skipped);
    *name = slice_first(*name, (size_t)at);
    return span;
}

static bool set_phase(struct lab_phases *phases, struct slice during, struct slice key, struct slice text, struct keys others,
                      struct error *error)
{
    struct lab_span span;
    const struct config_key *found = key_find(KEYS(phase_keys), key);
    if (!found)
        return unknown(key, KEYS(phase_keys), others, error);
    if (found->type == KEY_TEXT && !lab_says_check(key, text, error))
        return false;
    if (slice_is_absent(during))
        return value_set(found, (char *)&phases->items[0], text, error);
    return lab_span_read(during, &span, error) && value_set(found, (char *)phase_get(phases, span), text, error);
}

static bool set_mailbox(struct scenario *scenario, struct slice name, size_t at, struct slice text, struct error *error)
{
    struct lab_host *host = host_get(scenario, slice_first(name, at));
    if (!lab_says_check(SLICE("rcpt"), text, error))
        return false;
    host->mailboxes = mem_resize(host->mailboxes, (host->mailbox_count + 1) * sizeof *host->mailboxes);
    host->mailboxes[host->mailbox_count++] = (struct lab_mailbox){slice_copy(slice_from(name, at + 9)), slice_copy(text)};
    return true;
}

static bool set_host(struct scenario *scenario, struct slice name, struct slice text, struct error *error)
{
    ptrdiff_t mailbox = slice_find(name, SLICE(".mailbox."));
    if (mailbox > 0)
        return set_mailbox(scenario, name, (size_t)mailbox, text, error);
    struct slice key = slice_cut_last(&name, '.'), during = cut_during(&name);
    if (name.size == 0)
        return error_set(error, "host \"mx1.example.org\" { … } was expected");
    struct lab_host *host = host_get(scenario, name);
    const struct config_key *found = slice_is_absent(during) ? key_find(KEYS(host_keys), key) : NULL;
    if (found && slice_equals(key, SLICE("over_rate")) && !lab_says_check(SLICE("mail"), text, error))
        return false;
    return found ? value_set(found, (char *)host, text, error) : set_phase(&host->phases, during, key, text, KEYS(host_keys), error);
}

static bool set_domain(struct scenario *scenario, struct slice name, struct slice text, struct error *error)
{
    struct slice key = slice_cut_last(&name, '.'), during = cut_during(&name);
    if (name.size == 0)
        return error_set(error, "domain \"example.org\" { … } was expected");
    struct lab_domain *domain = domain_get(scenario, name);
    const struct config_key *found = slice_is_absent(during) ? key_find(KEYS(domain_keys), key) : NULL;
    return found ? value_set(found, (char *)domain, text, error)
                 : set_phase(&domain->phases, during, key, text, KEYS(domain_keys), error);
}

static bool set_send(struct scenario *scenario, struct slice name, struct slice text, struct error *error)
{
    struct slice key = slice_cut_last(&name, '.');
    struct lab_send *send = item_get(&scenario->sends, &scenario->send_count, sizeof *send, name);
    const struct config_key *found = key_find(KEYS(send_keys), key);
    return found ? value_set(found, (char *)send, text, error) : unknown(key, KEYS(send_keys), (struct keys){0}, error);
}

static bool set_step(struct scenario *scenario, struct slice name, struct slice text, struct error *error)
{
    struct slice key = slice_cut_last(&name, '.');
    struct lab_step *step = item_get(&scenario->steps, &scenario->step_count, sizeof *step, name);
    const struct config_key *found = key_find(KEYS(step_keys), key);
    return found ? value_set(found, (char *)step, text, error) : unknown(key, KEYS(step_keys), (struct keys){0}, error);
}

static bool set(struct reading *reading, struct slice name, size_t line, struct slice text, struct error *error)
{
    struct scenario *scenario = reading->scenario;
    struct slice rest = name;
    struct slice word = slice_cut(&rest, '.');
    if (slice_equals(word, SLICE("config"))) {
        struct buf setting = {0};
        buf_printf(&setting, "%.*s=%.*s", SLICE_FMT(rest), SLICE_FMT(text));
        scenario->settings = mem_resize(scenario->settings, (scenario->setting_count + 1) * sizeof *scenario->settings);
        scenario->settings[scenario->setting_count++] = buf_take(&setting);
        return true;
    }
    if (slice_equals(word, SLICE("dns"))) {
        struct slice key = slice_cut_last(&rest, '.'), during = cut_during(&rest);
        return set_phase(&scenario->dns, during, slice_equals(key, SLICE("answer")) ? SLICE("dns") : key, text, (struct keys){0}, error);
    }
    if (slice_equals(word, SLICE("host")))
        return set_host(scenario, rest, text, error);
    if (slice_equals(word, SLICE("domain")))
        return set_domain(scenario, rest, text, error);
    if (slice_equals(word, SLICE("send")))
        return set_send(scenario, rest, text, error);
    if (slice_equals(word, SLICE("step")))
        return set_step(scenario, rest, text, error);
    if (slice_equals(word, SLICE("expect")))
        return lab_expect_set(scenario, rest, line, text, error);
    const struct config_key *own = key_find(KEYS(own_keys), name);
    return own ? value_set(own, (char *)scenario, text, error)
               : error_set(error, "accepted here: title, end, seed, and the sections config, domain, host, dns, send, step, expect");
}

static void on_setting(void *arg, const char *name, size_t line, struct slice text)
{
    struct error error;
    if (slice_is_absent(text))
        complain(arg, line, name, "given twice; sections of one kind have names of their own: send \"first\" { … }");
    else if (!set(arg, slice_of(name), line, text, &error))
        complain(arg, line, name, error.text);
}

/* One with nothing in it is there as well. */
static void on_section(void *arg, const char *name, size_t line)
{
    static const char *const words[] = {"config", "domain", "host", "dns", "send", "step", "expect"};
    struct reading *reading = arg;
    struct slice rest = slice_of(name);
    struct slice word = slice_cut(&rest, '.');
    size_t i = 0;
    while (i < COUNT_OF(words) && !slice_equals(word, slice_of(words[i])))
        i++;
    if (i == COUNT_OF(words))
        complain(reading, line, name, "unknown section; accepted: config, domain, host, dns, send, step, expect");
    if (rest.size && slice_find(rest, SLICE(".during.")) < 0 && slice_equals(word, SLICE("host")))
        (void)host_get(reading->scenario, rest);
    if (rest.size && slice_find(rest, SLICE(".during.")) < 0 && slice_equals(word, SLICE("domain")))
        (void)domain_get(reading->scenario, rest);
}

static size_t read_text(struct scenario *scenario, struct slice text, const char *place, struct buf *report)
{
    struct reading reading = {scenario, place, report, 0};
    struct error error;
    if (!config_parse(text, on_setting, on_section, &reading, &error)) {
        buf_printf(report, "%s: %s\n", place, error.text);
        reading.mistakes++;
    }
    return reading.mistakes;
}

bool lab_scenario_add(struct scenario *scenario, struct slice text, struct buf *report)
{
    return read_text(scenario, text, "", report) == 0;
}

struct scenario *scenario_read(struct slice text, const char *place, struct buf *report)
{
    struct scenario *scenario = mem_alloc(sizeof *scenario);
    (void)phase_add(&scenario->dns, (struct lab_span){0, INT64_MAX});
    if (read_text(scenario, text, place, report) + lab_scenario_complete(scenario, place, report))
        scenario_destroy(&scenario);
    return scenario;
}

/* ---- the end ---- */

static void clear(struct keys keys, void *item)
{
    for (size_t i = 0; i < keys.count; i++)
        value_clear(&keys.items[i], item);
}

static void phases_clear(struct lab_phases *phases)
{
    for (size_t i = 0; i < phases->count; i++)
        clear(KEYS(phase_keys), &phases->items[i]);
    free(phases->items);
}

static void host_clear(struct lab_host *host)
{
    for (size_t i = 0; i < host->mailbox_count; i++) {
        free(host->mailboxes[i].address);
        free(host->mailboxes[i].says);
    }
    free(host->mailboxes);
    phases_clear(&host->phases);
    clear(KEYS(host_keys), host);
    free(host->name);
}

static void domain_clear(struct lab_domain *domain)
{
    phases_clear(&domain->phases);
    clear(KEYS(domain_keys), domain);
    free(domain->name);
}

void scenario_destroy(struct scenario **scenario)
{
    struct scenario *s = *scenario;
    if (!s)
        return;
    for (size_t i = 0; i < s->host_count; i++)
        host_clear(&s->hosts[i]);
    for (size_t i = 0; i < s->domain_count; i++)
        domain_clear(&s->domains[i]);
    for (size_t i = 0; i < s->send_count; i++) {
        clear(KEYS(send_keys), &s->sends[i]);
        free(s->sends[i].name);
    }
    for (size_t i = 0; i < s->step_count; i++)
        free(s->steps[i].name);
    for (size_t i = 0; i < s->setting_count; i++)
        free(s->settings[i]);
    lab_expects_clear(s);
    phases_clear(&s->dns);
    clear(KEYS(own_keys), s);
    free(s->hosts);
    free(s->domains);
    free(s->sends);
    free(s->steps);
    free(s->settings);
    free(s);
    *scenario = NULL;
}
