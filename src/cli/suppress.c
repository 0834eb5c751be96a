/* mailroot suppress: the list of addresses that nothing is sent to, shown and changed; with or without a running relay. */
#include "cli/command.h"

#include "message/address.h"
#include "os/clock.h"
#include "outcome/suppressed.h"

#include <jansson.h>
#include <stdio.h>
#include <unistd.h>

static void print_entry(void *arg, const struct suppression *entry)
{
    char time[25];
    (void)arg;
    clock_rfc3339(entry->added_ms, time);
    printf("%-40s %.10s  %-14s %s\n", entry->address, time, entry->class, entry->words);
}

static void add_json(void *arg, const struct suppression *entry)
{
    char time[25];
    clock_rfc3339(entry->added_ms, time);
    json_t *one = json_pack("{s:s, s:s, s:s, s:s+}", "address", entry->address, "added", time, "class", entry->class, "reply", entry->words, "");
    if (one)
        json_array_append_new(arg, one);
}

static int list(struct suppressed *suppressed, bool is_json)
{
    if (!is_json) {
        suppressed_each(suppressed, clock_wall_ms(), print_entry, NULL);
        return EX_OK;
    }
    json_t *all = json_array();
    suppressed_each(suppressed, clock_wall_ms(), add_json, all);
    json_dumpf(all, stdout, JSON_INDENT(2));
    (void)putchar('\n');
    json_decref(all);
    return EX_OK;
}

static bool change(struct suppressed *suppressed, const char *text, bool is_added, struct error *error)
{
    struct arena arena = {0};
    struct address address;
    int64_t now_ms = clock_wall_ms();
    bool is_done = address_parse(&arena, slice_of(text), &address, error)
                   && (address.domain.size || error_set(error, "%s: an address with a domain was expected", text));
    if (is_done && is_added) {
        struct suppression entry = {arena_text(&arena, address.text), "operator", "put there by an operator", now_ms};
        is_done = suppressed_add(suppressed, &entry, error);
    } else if (is_done) {
        is_done = suppressed_remove(suppressed, address.text, now_ms, error);
    }
    arena_finish(&arena);
    return is_done;
}

int command_suppress(int argc, char **argv)
{
    struct command_options options;
    struct error error;
    char queue_dir[4096];
    int code = EX_OK;
    command_parse(&argc, argv, &options);
    bool is_list = argc == 2 && strcmp(argv[1], "list") == 0;
    bool is_added = argc > 2 && strcmp(argv[1], "add") == 0, is_removed = argc > 2 && strcmp(argv[1], "remove") == 0;
    if (!is_list && !is_added && !is_removed)
        return command_fail("suppress", EX_USAGE, "list, add ADDRESS... or remove ADDRESS... was expected");
    struct config *config = command_config(&options);
    (void)snprintf(queue_dir, sizeof queue_dir, "%s/Queue", config->root);
    struct suppressed *suppressed = suppressed_open(queue_dir, config->suppress.expire_ms, &error);
    if (!suppressed)
        code = command_fail("suppress", EX_NOINPUT, "%s", error.text);
    else if (is_list)
        code = list(suppressed, options.is_json);
    for (int i = 2; suppressed && i < argc; i++)
        if (!change(suppressed, argv[i], is_added, &error))
            code = command_fail("suppress", EX_DATAERR, "%s", error.text);
    suppressed_close(&suppressed);
    config_destroy(&config);
    return code;
}
