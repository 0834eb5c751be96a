/* mailroot explain WHAT: on one screen, what is known of a file, a queue id, or an address.
 *
 * A thin whole of what the other commands say: a file is linted, an address routed; a message of the queue is shown with its last
 * replies in the words of the rules that sort them (config/replies.h), when it is tried next and why then, the way it would go
 * now, which limits bind there, and its trace. */
#include "cli/command.h"

#include "cli/queue_place.h"
#include "config/replies.h"
#include "os/clock.h"
#include "os/control.h"
#include "store/filter.h"
#include "store/policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

/* RFC 3463: class and subject and detail in words, where no rule of replies.conf fits. The longest prefix that fits is used. */
static const struct { const char *status; const char *words; } meanings[] = {
    {"4.1.8", "the sender's domain can't be looked up over there"},
    {"4.2.0", "not now: greylisting, or the mailbox is busy"},
    {"4.2.1", "the mailbox is switched off for the moment"},
    {"4.2.2", "the mailbox is full"},
    {"4.3.", "the server over there has a problem of its own"},
    {"4.4.1", "no host of the destination answers"},
    {"4.4.2", "the connection broke"},
    {"4.4.3", "the name servers could not be asked"},
    {"4.4.7", "it waited too long"},
    {"4.7.", "the receiver's policy says: not now (reputation, rate, greylisting)"},
    {"5.1.1", "there is no such mailbox"},
    {"5.1.2", "there is no such domain"},
    {"5.1.3", "the address is ill-formed"},
    {"5.1.10", "the domain takes no mail at all"},
    {"5.2.1", "the mailbox is switched off"},
    {"5.2.2", "the mailbox is full"},
    {"5.3.4", "the message is larger than the receiver takes"},
    {"5.4.4", "the domain has no host that could take mail"},
    {"5.4.6", "the mail would go round in a loop"},
    {"5.4.7", "it could not be delivered in the time it had"},
    {"5.6.", "the receiver can't take content of this kind"},
    {"5.7.1", "the receiver's policy refuses it"},
    {"5.7.", "the receiver's policy refuses it (authentication, reputation)"},
    {"4.", "a temporary failure: it is tried again"},
    {"5.", "a permanent failure: it is returned to the sender"},
    {"2.", "it was taken"},
};

static const char *meaning_of(struct slice status)
{
    const char *best = "";
    size_t longest = 0;
    for (size_t i = 0; i < COUNT_OF(meanings); i++) {
        struct slice prefix = slice_of(meanings[i].status);
        bool is_whole = prefix.data[prefix.size - 1] != '.';
        bool fits = is_whole ? slice_equals(status, prefix) : slice_starts(status, prefix);
        if (fits && prefix.size > longest) {
            longest = prefix.size;
            best = meanings[i].words;
        }
    }
    return best;
}

enum { DOMAINS_MAX = 5 };

struct explaining {
    const struct config *config;
    json_t *paced;          /* what the running relay has learnt of sites; NULL: it doesn't run */
    char *domains[DOMAINS_MAX]; /* of recipients that are still to be tried */
    size_t domain_count, found;
};

static void print_clean(const char *label, struct slice text)
{
    if (text.size == 0)
        return;
    printf("    %-9s", label);
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.data[i];
        (void)putchar(c < 0x20 || c == 0x7f ? '?' : c);
    }
    (void)putchar('\n');
}

/* The class and the words of the rule that fits the reply; else those of its status. */
static void print_meaning(const struct config *config, const struct store_recipient *recipient)
{
    struct buf words = {0};
    uint64_t code = 0;
    char *status = slice_copy(recipient->last_status);
    if (recipient->last_reply.size >= 3)
        (void)slice_to_u64(slice_first(recipient->last_reply, 3), &code);
    struct reply_meaning meaning = {0};
    if (code >= 400 && code <= 599)
        meaning = replies_find(config->replies, recipient->last_host, (int)code, status, recipient->last_reply);
    if (meaning.class)
        buf_printf(&words, "%s (%s)", meaning.class->words, meaning.class->name);
    else
        buf_append_text(&words, meaning_of(recipient->last_status));
    if (code >= 400 && meaning.verdict != REPLY_BY_CODE)
        buf_append_text(&words, meaning.verdict == REPLY_RETRY ? "; tried again" : "; not tried again");
    print_clean("means", buf_slice(&words));
    buf_finish(&words);
    free(status);
}

/* ---- limits ---- */

static void put_rates(struct buf *out, const struct config_rates *rates)
{
    for (size_t i = 0; i < rates->count; i++)
        buf_printf(out, ", %d each %lld ms", rates->items[i].count, (long long)rates->items[i].span_ms);
}

/* The config's for that destination, and what the running relay has learnt of the host. */
static void print_limits(const struct explaining *explaining, const struct store_recipient *recipient)
{
    const struct config *config = explaining->config;
    const struct config_route *rule = config_route_find(config, recipient->domain);
    struct buf text = {0};
    size_t i;
    json_t *pace;
    int connections = rule && rule->connections_max ? rule->connections_max : config->delivery.connections_per_site;
    buf_printf(&text, "%d connections", connections);
    put_rates(&text, rule && rule->rates.count ? &rule->rates : &config->delivery.rates);
    print_clean("limits", buf_slice(&text));
    json_array_foreach(explaining->paced, i, pace) {
        const char *site = json_string_value(json_object_get(pace, "site"));
        if (!site || recipient->last_host.size == 0 || slice_find(slice_of(site), recipient->last_host) < 0)
            continue;
        buf_clear(&text);
        long long learnt = json_integer_value(json_object_get(pace, "connections")), interval = json_integer_value(json_object_get(pace, "interval_ms"));
        const char *rests = json_string_value(json_object_get(pace, "rests_until"));
        if (learnt)
            buf_printf(&text, "%lld connections; ", learnt);
        if (interval)
            buf_printf(&text, "one message each %lld ms; ", interval);
        if (rests)
            buf_printf(&text, "it rests until %s; ", rests);
        if (json_is_true(json_object_get(pace, "ipv4_alone")))
            buf_append_text(&text, "IPv4 alone; ");
        buf_printf(&text, "since it said: %s", json_string_value(json_object_get(pace, "cause")));
        print_clean("learnt", buf_slice(&text));
    }
    buf_finish(&text);
}

/* When it is tried next, and what decides that. */
static void print_next(const struct explaining *explaining, const struct store_message *message, const struct store_recipient *recipient)
{
    char time[25];
    struct policy policy;
    struct buf text = {0};
    policy_read(message->policy, &policy);
    if (recipient->state == STATE_HELD) {
        print_clean("next", SLICE("held: mailroot queue release lets it go"));
        return;
    }
    clock_rfc3339(recipient->next_ms, time);
    buf_printf(&text, "%s%s", time, recipient->next_ms <= clock_wall_ms() ? " (due)" : "");
    if (recipient->attempts)
        buf_printf(&text, ", after %u attempt%s", recipient->attempts, recipient->attempts == 1 ? "" : "s");
    if (policy.window.size)
        buf_printf(&text, ", in the folder's window %.*s", SLICE_FMT(policy.window));
    print_clean("next", buf_slice(&text));
    buf_finish(&text);
    print_limits(explaining, recipient);
}

static void note_domain(struct explaining *explaining, struct slice domain)
{
    for (size_t i = 0; i < explaining->domain_count; i++)
        if (slice_equals(slice_of(explaining->domains[i]), domain))
            return;
    if (explaining->domain_count < DOMAINS_MAX)
        explaining->domains[explaining->domain_count++] = slice_copy(domain);
}

static bool print_message(void *arg, const struct store_message *message, const struct store_recipient *recipients,
                          size_t count)
{
    char id[17], time[25];
    struct explaining *explaining = arg;
    struct policy policy;
    explaining->found++;
    policy_read(message->policy, &policy);
    store_id_text(message->id, id);
    clock_rfc3339(message->arrived_ms, time);
    printf("%s  arrived %s, %zu octets\n", id, time, message->size);
    print_clean("file", message->pickup_name);
    print_clean("folder", policy.folder);
    print_clean("from", message->sender);
    print_clean("subject", message->subject);
    for (size_t i = 0; i < count; i++) {
        const struct store_recipient *recipient = &recipients[i];
        printf("  <%.*s>  %s, %u attempt%s\n", SLICE_FMT(recipient->address), state_name(recipient->state),
               recipient->attempts, recipient->attempts == 1 ? "" : "s");
        print_clean("host", recipient->last_host);
        print_clean("said", recipient->last_reply);
        print_meaning(explaining->config, recipient);
        print_clean("route", recipient->route);
        if (recipient->state != STATE_QUEUED && recipient->state != STATE_HELD)
            continue;
        print_next(explaining, message, recipient);
        if (slice_is_absent(recipient->route))
            note_domain(explaining, recipient->domain);
    }
    return true;
}

/* What the running relay has learnt; NULL without one. */
static json_t *ask_paced(const struct config *config)
{
    char path[4096];
    struct error error;
    json_t *answer = NULL, *question = json_pack("{s:s}", "do", "status"), *paced = NULL;
    (void)snprintf(path, sizeof path, "%s/control.sock", config->root);
    if (control_request(path, question, &answer, &error) == CONTROL_ANSWERED)
        paced = json_incref(json_object_get(answer, "paced"));
    json_decref(question);
    json_decref(answer);
    return paced;
}

/* Messages in the queue with that id, pickup name, Message-ID or recipient; how many. Then the way to their domains. */
static size_t explain_queued(const struct config *config, const char *what, bool with_ways)
{
    struct queue_place place;
    struct store *store;
    struct error error;
    uint64_t id;
    struct explaining explaining = {.config = config};
    if (!queue_place_find(config, &place, &error) || !store_open_at(&place.store, STORE_READER, &store, &error)) {
        queue_place_forget(&place);
        return 0; /* no queue yet */
    }
    struct store_filter filters[4] = {FILTER_ALL, FILTER_ALL, FILTER_ALL, FILTER_ALL};
    size_t count = 3;
    filters[0].pickup_name = filters[1].message_id = filters[2].recipient = slice_of(what);
    if (store_id_parse(slice_of(what), &id)) {
        filters[3].ids = &id;
        filters[3].id_count = 1;
        count = 4;
    }
    explaining.paced = ask_paced(config);
    for (size_t i = 0; i < count && explaining.found == 0; i++)
        if (!store_select(store, &filters[i], print_message, &explaining, &error))
            (void)command_fail("explain", 0, "%s", error.text);
    store_close(&store);
    queue_place_forget(&place);
    json_decref(explaining.paced);
    for (size_t i = 0; i < explaining.domain_count; i++) {
        if (with_ways)
            (void)route_explain(config, explaining.domains[i], slice_of(explaining.domains[i]), false);
        free(explaining.domains[i]);
    }
    return explaining.found;
}

int command_explain(int argc, char **argv)
{
    struct command_options options;
    struct stat is;
    char *given[16];
    int given_count = argc < 16 ? argc : 16;
    for (int i = 0; i < given_count; i++)
        given[i] = argv[i]; /* command_parse() moves them; the other commands want them all */
    command_parse(&argc, argv, &options);
    if (argc != 2)
        return command_fail("explain", EX_USAGE, "one file, queue id, pickup name or address was expected");
    const char *what = argv[1];
    if (stat(what, &is) == 0 && S_ISREG(is.st_mode))
        return command_lint(given_count, given);
    struct config *config = command_config(&options);
    bool is_address = strchr(what, '@') && what[0] != '<';
    size_t found = explain_queued(config, what, !is_address);
    config_destroy(&config);
    if (is_address)
        return command_route(given_count, given);
    int code = command_trace(given_count, given);
    return found ? EX_OK : code;
}
