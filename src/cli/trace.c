/* mailroot trace: all that happened to messages, found by pickup name, Message-ID, queue id or recipient. */
#include "base/hash.h"
#include "cli/command.h"
#include "outcome/history.h"
#include "pickup/mbox.h"

#include <stdio.h>
#include <stdlib.h>

struct id { char text[80]; UT_hash_handle hh; };

struct trace {
    char **words;
    struct id *ids;      /* of the messages that match, and of notices about them */
    bool is_collecting;  /* first walk: ids; second: their events */
    bool is_json;
    size_t count;
};

static bool has_id(const struct trace *trace, const char *text)
{
    struct id *id = NULL;
    if (text[0])
        HASH_FIND_STR(trace->ids, text, id);
    return id != NULL;
}

static void add_id(struct trace *trace, const char *text)
{
    if (!text[0] || strlen(text) >= sizeof ((struct id *)0)->text || has_id(trace, text))
        return;
    struct id *id = calloc(1, sizeof *id);
    if (!id)
        return;
    (void)snprintf(id->text, sizeof id->text, "%s", text);
    HASH_ADD_STR(trace->ids, text, id);
}

static bool is_word(const char *value, const char *word)
{
    struct slice text = slice_of(value), wanted = slice_of(word);
    if (slice_equals_nocase(text, wanted))
        return true;
    return text.size > 2 && text.data[0] == '<' && text.data[text.size - 1] == '>'
           && slice_equals_nocase(slice_make(text.data + 1, text.size - 2), wanted);
}

static bool matches(const json_t *event, const char *word)
{
    static const char *const keys[] = {"id", "about", "pickup", "message_id", "to"};
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        if (is_word(history_text(event, keys[i]), word))
            return true;
    return mbox_number(history_text(event, "pickup"), word) > 0;
}

static void print_event(const json_t *event)
{
    static const char *const keys[] = {"client", "user", "to", "mx", "ip", "tls", "status", "reply", "reason", "note", "next"};
    printf("%s  %-12s %s", history_text(event, "time"), history_text(event, "event"), history_text(event, "id"));
    if (history_text(event, "about")[0])
        printf(" about %s", history_text(event, "about"));
    if (strcmp(history_text(event, "event"), "taken") == 0)
        printf("  %s from <%s> by %s, %lld octets, dialect=%s", history_text(event, "pickup"), history_text(event, "from"),
               history_text(event, "owner"), (long long)json_integer_value(json_object_get(event, "size")),
               history_text(event, "dialect"));
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        const char *text = history_text(event, keys[i]);
        if (!text[0])
            continue;
        printf("  %s%s", strcmp(keys[i], "next") == 0 ? "next " : "", strcmp(keys[i], "to") == 0 ? "<" : "");
        for (const unsigned char *c = (const unsigned char *)text; *c; c++)
            (void)putchar(*c < 0x20 || *c == 0x7f ? '?' : *c); /* a terminal is no place for foreign controls */
        printf("%s", strcmp(keys[i], "to") == 0 ? ">" : "");
    }
    (void)putchar('\n');
}

static bool on_event(void *arg, const json_t *event)
{
    struct trace *trace = arg;
    if (trace->is_collecting) {
        for (char **word = trace->words; *word; word++) {
            if (!matches(event, *word))
                continue;
            add_id(trace, history_text(event, "id"));
            trace->count++;
        }
        if (has_id(trace, history_text(event, "id"))) /* "accepted" comes before there is an id */
            add_id(trace, history_text(event, "pickup"));
        if (has_id(trace, history_text(event, "about")))
            add_id(trace, history_text(event, "id"));
        return true;
    }
    bool is_accepted = strcmp(history_text(event, "event"), "accepted") == 0;
    bool is_wanted = has_id(trace, history_text(event, is_accepted ? "pickup" : "id"));
    for (char **word = trace->words; *word && !is_wanted; word++)
        is_wanted = matches(event, *word);
    if (!is_wanted)
        return true;
    if (trace->is_json) {
        printf("%s", trace->count++ ? ",\n" : "");
        json_dumpf(event, stdout, JSON_COMPACT);
    } else {
        print_event(event);
    }
    return true;
}

static int trace_all(const struct config *config, struct trace *trace)
{
    struct error error;
    struct id *id, *next;
    int code = EX_OK;
    trace->is_collecting = true;
    bool is_done = history_each(config, on_event, trace, &error);
    bool is_any = trace->count > 0;
    trace->is_collecting = false;
    trace->count = 0;
    if (trace->is_json)
        printf("[");
    is_done = is_done && history_each(config, on_event, trace, &error);
    if (trace->is_json)
        printf("]\n");
    if (!is_done)
        code = command_fail("trace", EX_NOINPUT, "%s", error.text);
    else if (!is_any)
        code = command_fail("trace", 1, "nothing is known of that");
    HASH_ITER(hh, trace->ids, id, next) {
        HASH_DEL(trace->ids, id);
        free(id);
    }
    return code;
}

int command_trace(int argc, char **argv)
{
    struct command_options options;
    command_parse(&argc, argv, &options);
    if (argc < 2)
        return command_fail("trace", EX_USAGE, "a pickup name, Message-ID, queue id or recipient was expected");
    struct config *config = command_config(&options);
    struct trace trace = {.words = argv + 1, .is_json = options.is_json};
    int code = trace_all(config, &trace);
    config_destroy(&config);
    return code;
}
