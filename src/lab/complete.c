/* What a scenario leaves unsaid, and what can't be played. */
#include "lab/scenario_private.h"

#include "base/ip.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

enum { ADDRESSES_MAX = 250 };
#define LONGEST_MS (30LL * 24 * 3600 * 1000)

struct completing { struct scenario *scenario; const char *place; struct buf *report; size_t mistakes; };

static void complain(struct completing *completing, const char *section, const char *name, const char *text)
{
    buf_printf(completing->report, "%s: %s \"%s\": %s\n", completing->place, section, name, text);
    completing->mistakes++;
}

static const char *domain_of(const char *address)
{
    const char *at = strrchr(address, '@');
    return at ? at + 1 : "";
}

static bool has_domain(const struct scenario *scenario, const char *name)
{
    for (size_t i = 0; i < scenario->domain_count; i++)
        if (strcasecmp(scenario->domains[i].name, name) == 0)
            return true;
    for (size_t i = 0; i < scenario->host_count; i++) /* a host may be its own domain */
        if (strcasecmp(scenario->hosts[i].name, name) == 0)
            return true;
    return false;
}

static bool has_host(const struct scenario *scenario, struct slice name)
{
    for (size_t i = 0; i < scenario->host_count; i++)
        if (slice_equals_nocase(slice_of(scenario->hosts[i].name), name))
            return true;
    return false;
}

static void add_line(struct scenario *scenario, const char *format, const char *domain)
{
    struct buf text = {0}, report = {0};
    buf_printf(&text, format, domain);
    CHECK(lab_scenario_add(scenario, buf_slice(&text), &report));
    buf_finish(&text);
    buf_finish(&report);
}

/* Notices go there: a server that takes all is what most senders have. */
static void add_sender(struct completing *completing, const char *address)
{
    const char *domain = domain_of(address);
    if (!*domain) {
        if (*address)
            complain(completing, "send", address, "an address was expected");
        return;
    }
    if (has_domain(completing->scenario, domain))
        return;
    add_line(completing->scenario, "domain \"%s\" { mx = \"mx.%1$s\" } host \"mx.%1$s\" { }", domain);
}

static void complete_sends(struct completing *completing)
{
    struct scenario *scenario = completing->scenario;
    for (size_t i = 0; i < scenario->send_count; i++) {
        struct lab_send *send = &scenario->sends[i];
        if (!send->from)
            send->from = mem_copy_text("app@sender.test");
        if (send->count == 0)
            send->count = 1;
        if (send->to.count == 0)
            complain(completing, "send", send->name, "to = \"user@example.org\" was expected");
        for (size_t k = 0; k < send->to.count; k++)
            if (!has_domain(scenario, domain_of(send->to.items[k])))
                complain(completing, "send", send->to.items[k],
                         "its domain is not in the scenario; domain \"…\" { dns = nxdomain } is one that isn't there");
        add_sender(completing, send->from);
    }
    if (scenario->send_count == 0)
        complain(completing, "send", "", "nothing is sent: send { to = \"user@example.org\" } was expected");
}

static void complete_domains(struct completing *completing)
{
    const struct scenario *scenario = completing->scenario;
    for (size_t i = 0; i < scenario->domain_count; i++)
        for (size_t k = 0; k < scenario->domains[i].mx.count; k++) {
            struct slice host = slice_of(scenario->domains[i].mx.items[k]), rest = host;
            struct slice first = slice_cut(&rest, ' ');
            if (!slice_is_absent(rest) && rest.size)
                host = slice_trim(rest);
            (void)first;
            if (!slice_equals(host, SLICE(".")) && !has_host(scenario, host))
                complain(completing, "domain", scenario->domains[i].name,
                         "its MX is not in the scenario; host \"…\" { dns = nxdomain } is one without address");
        }
}

static bool is_taken(const struct scenario *scenario, const char *address)
{
    for (size_t i = 0; i < scenario->host_count; i++)
        for (size_t k = 0; k < scenario->hosts[i].addresses.count; k++)
            if (strcmp(scenario->hosts[i].addresses.items[k], address) == 0)
                return true;
    return false;
}

/* Those of documentation (RFC 5737): nobody's. */
static void complete_hosts(struct completing *completing)
{
    struct scenario *scenario = completing->scenario;
    char address[32];
    unsigned number = 1;
    for (size_t i = 0; i < scenario->host_count; i++) {
        struct config_list *list = &scenario->hosts[i].addresses;
        for (size_t k = 0; k < list->count; k++)
            if (!ip_is(slice_of(list->items[k])))
                complain(completing, "host", scenario->hosts[i].name, "address: an IPv4 or IPv6 address was expected");
        if (list->count)
            continue;
        do
            (void)snprintf(address, sizeof address, "192.0.2.%u", number++);
        while (is_taken(scenario, address));
        if (number > ADDRESSES_MAX)
            complain(completing, "host", scenario->hosts[i].name, "too many hosts without an address");
        list->items = mem_alloc(sizeof *list->items);
        list->items[list->count++] = mem_copy_text(address);
    }
}

static void check_steps(struct completing *completing)
{
    const struct scenario *scenario = completing->scenario;
    for (size_t i = 0; i < scenario->step_count; i++) {
        const struct lab_step *step = &scenario->steps[i];
        if (step->deed == LAB_DISK_FULL && step->for_ms == 0)
            complain(completing, "step", step->name, "for = 10m was expected");
        if (step->deed == LAB_CLOCK && step->forward_ms == 0 && step->back_ms == 0)
            complain(completing, "step", step->name, "forward = 1d or back = 1d was expected");
    }
}

size_t lab_scenario_complete(struct scenario *scenario, const char *place, struct buf *report)
{
    struct completing completing = {scenario, place, report, 0};
    complete_sends(&completing);
    complete_domains(&completing);
    complete_hosts(&completing);
    check_steps(&completing);
    if (scenario->end_ms == 0)
        scenario->end_ms = LONGEST_MS;
    return completing.mistakes;
}
