/* mailroot explain WHAT: on one screen, what is known of a file, a queue id, or an address.
 *
 * A thin whole of what the other commands say: a file is linted, an address routed, a message of the queue shown with its
 * last replies in plain words, when it is tried next, and its trace. */
#include "cli/command.h"

#include "os/clock.h"
#include "cli/place.h"
#include "store/filter.h"

#include <stdio.h>
#include <sys/stat.h>

/* RFC 3463: class and subject and detail in words. The longest prefix that fits is used. */
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

static bool print_message(void *arg, const struct store_message *message, const struct store_recipient *recipients,
                          size_t count)
{
    char id[17], time[25];
    size_t *found = arg;
    (*found)++;
    store_id_text(message->id, id);
    clock_rfc3339(message->arrived_ms, time);
    printf("%s  arrived %s, %zu octets\n", id, time, message->size);
    print_clean("file", message->pickup_name);
    print_clean("from", message->sender);
    print_clean("subject", message->subject);
    for (size_t i = 0; i < count; i++) {
        const struct store_recipient *recipient = &recipients[i];
        printf("  <%.*s>  %s, %u attempt%s\n", SLICE_FMT(recipient->address), state_name(recipient->state),
               recipient->attempts, recipient->attempts == 1 ? "" : "s");
        print_clean("host", recipient->last_host);
        print_clean("said", recipient->last_reply);
        print_clean("means", slice_of(meaning_of(recipient->last_status)));
        print_clean("route", recipient->route);
        if (recipient->state == STATE_QUEUED) {
            clock_rfc3339(recipient->next_ms, time);
            print_clean("next", slice_of(time));
        }
    }
    return true;
}

/* Messages in the queue with that id, pickup name, Message-ID or recipient; how many. */
static size_t explain_queued(const struct config *config, const char *what)
{
    struct place place;
    struct store *store;
    struct error error;
    uint64_t id;
    size_t found = 0;
    if (!place_find(config, &place, &error) || !store_open_at(&place.store, STORE_READER, &store, &error)) {
        place_forget(&place);
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
    for (size_t i = 0; i < count && found == 0; i++)
        if (!store_select(store, &filters[i], print_message, &found, &error))
            (void)command_fail("explain", 0, "%s", error.text);
    store_close(&store);
    place_forget(&place);
    return found;
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
    size_t found = explain_queued(config, what);
    config_destroy(&config);
    if (strchr(what, '@') && what[0] != '<')
        return command_route(given_count, given);
    int code = command_trace(given_count, given);
    return found ? EX_OK : code;
}
