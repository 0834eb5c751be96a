/* mailroot lint: the intake's own checks, offline: what would be done with a file dropped in Pickup. */
#include "cli/command.h"

#include "cli/message_file.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <unistd.h>

static json_t *text_of(struct slice text)
{
    json_t *value = json_stringn(text.data ? text.data : "", text.size);
    return value ? value : json_string("(not UTF-8)");
}

static json_t *describe(const struct prepared *prepared, size_t messages)
{
    const struct envelope *envelope = &prepared->envelope;
    json_t *recipients = json_array(), *rejected = json_array();
    for (size_t i = 0; i < envelope->recipient_count; i++)
        json_array_append_new(recipients, text_of(envelope->recipients[i].address.text));
    for (size_t i = 0; i < envelope->rejected_count; i++)
        json_array_append_new(rejected, json_pack("{s:o, s:s, s:I}", "text", text_of(envelope->rejected[i].text),
                                                  "reason", envelope->rejected[i].reason, "line",
                                                  (json_int_t)envelope->rejected[i].line));
    return json_pack("{s:b, s:I, s:s, s:o, s:o, s:o, s:o, s:o, s:I, s:b, s:b}", "ok", 1, "messages", (json_int_t)messages, "dialect", envelope->dialect,
                     "sender", text_of(envelope->sender.text), "recipients", recipients, "rejected", rejected,
                     "repairs", text_of(prepared->facts.repairs), "message_id",
                     text_of(prepared->facts.message_id), "size", (json_int_t)prepared->content.size,
                     "8bit", prepared->facts.has_8bit_body, "smtputf8",
                     envelope->is_smtputf8 || prepared->facts.has_8bit_header);
}

static void print_words(const char *path, const struct prepared *prepared, size_t messages)
{
    const struct envelope *envelope = &prepared->envelope;
    if (messages > 1)
        printf("%s: %zu messages, the first of them:\n", path, messages);
    printf("%s: fine (%s)\n  sender     <%.*s>\n", path, envelope->dialect, SLICE_FMT(envelope->sender.text));
    for (size_t i = 0; i < envelope->recipient_count; i++)
        printf("  recipient  <%.*s>\n", SLICE_FMT(envelope->recipients[i].address.text));
    for (size_t i = 0; i < envelope->rejected_count; i++)
        printf("  rejected   line %zu: %s\n", envelope->rejected[i].line, envelope->rejected[i].reason);
    if (prepared->facts.repairs.size)
        printf("  repairs    %.*s\n", SLICE_FMT(prepared->facts.repairs));
}

static bool lint_file(const struct config *config, const struct folder_conf *folder, const char *path, bool is_json)
{
    struct message_file file = {.bytes = {0}};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool is_fine = fd >= 0 ? message_file_prepare(config, folder, NULL, fd, path, 1, &file) : error_set_errno(&file.error, "open");
    if (fd >= 0)
        close(fd);
    if (is_json) {
        json_t *value = is_fine ? describe(&file.prepared, file.message_count) : json_pack("{s:b, s:s}", "ok", 0, "reason", file.error.text);
        (void)json_object_set_new(value, "file", text_of(slice_of(path)));
        (void)json_dumpf(value, stdout, JSON_COMPACT);
        (void)putchar('\n');
        json_decref(value);
    } else if (is_fine) {
        print_words(path, &file.prepared, file.message_count);
    } else {
        printf("%s: refused: %s\n", path, file.error.text);
    }
    message_file_finish(&file);
    return is_fine;
}

int command_lint(int argc, char **argv)
{
    struct command_options options;
    bool all_fine = true;
    command_parse(&argc, argv, &options);
    const char *folder_name = command_value(&argc, argv, "--folder");
    if (argc < 2)
        return command_fail("lint", EX_USAGE, "a file was expected");
    struct config *config = command_config(&options);
    struct folder_conf *folder = folder_name ? message_file_folder(config, "lint", folder_name) : NULL;
    int code = folder_name && !folder ? EX_CONFIG : EX_OK;
    for (int i = 1; i < argc && code == EX_OK; i++)
        all_fine &= lint_file(config, folder, argv[i], options.is_json);
    folder_conf_destroy(&folder);
    config_destroy(&config);
    return all_fine ? code : EX_DATAERR;
}
