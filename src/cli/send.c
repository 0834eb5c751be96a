/* mailroot send: a message composed on the command line, by the library of cdonts/cdonts.h, and dropped in Pickup.
 *
 * Each option is a member of NewMail; the article's letters (-t -f -s -b, also as -to -from -subject -body) are among them.
 * Without a text the standard input is the text: of a pipe, or of the terminal up to its end of file. At a terminal recipients and
 * subject are asked for too, where there are none. */
#include "cli/command.h"

#include "cdonts/cdonts.h"
#include "message/envelope.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

struct send {
    struct cdonts_object *mail;
    const char *timeout;
    bool is_waited, has_text, has_from, has_to, has_subject;
};

typedef uint32_t take_fn(struct send *send, const char *member, const char *value, struct cdonts_error *error);

static uint32_t take_text(struct send *send, const char *member, const char *value, struct cdonts_error *error)
{
    send->has_text = send->has_text || strcasecmp(member, "Body") == 0 || strcasecmp(member, "HTMLBody") == 0;
    send->has_from = send->has_from || strcasecmp(member, "From") == 0;
    send->has_subject = send->has_subject || strcasecmp(member, "Subject") == 0;
    send->has_to = send->has_to || strcasecmp(member, "To") == 0 || strcasecmp(member, "Cc") == 0 || strcasecmp(member, "Bcc") == 0;
    return cdonts_put_text(send->mail, member, value, error);
}

static uint32_t fail(struct cdonts_error *error, const char *text)
{
    error->code = CDONTS_E_INVALID_PARAMETER;
    (void)snprintf(error->text, sizeof error->text, "%s", text);
    return error->code;
}

static uint32_t take_importance(struct send *send, const char *member, const char *value, struct cdonts_error *error)
{
    static const char *const levels[] = {"low", "normal", "high"};
    for (int i = 0; i < (int)COUNT_OF(levels); i++)
        if (strcmp(value, levels[i]) == 0)
            return cdonts_put_number(send->mail, member, i, error);
    return fail(error, "low, normal or high was expected");
}

static uint32_t take_time(struct send *send, const char *member, const char *value, struct cdonts_error *error)
{
    int64_t time_ms;
    if (!envelope_time_parse(slice_of(value), &time_ms))
        return fail(error, "a time as in 2026-12-24T18:00:00Z was expected");
    return cdonts_put_number(send->mail, member, time_ms / 1000, error);
}

static uint32_t take_file(struct send *send, const char *member, const char *value, struct cdonts_error *error)
{
    (void)member;
    return cdonts_attach_file(send->mail, value, NULL, CDONTS_BASE64, error);
}

/* ID=FILE. */
static uint32_t take_inline(struct send *send, const char *member, const char *value, struct cdonts_error *error)
{
    const char *equals = strchr(value, '=');
    if (!equals)
        return fail(error, "ID=FILE was expected");
    char *id = slice_copy(slice_make(value, (size_t)(equals - value)));
    struct cdonts_value values[2] = {
        {.kind = CDONTS_STRING, .text = (char *)(uintptr_t)(equals + 1), .size = strlen(equals + 1)},
        {.kind = CDONTS_STRING, .text = id, .size = strlen(id)}};
    uint32_t code = cdonts_invoke(send->mail, cdonts_member_find(send->mail, member), CDONTS_CALL, values, 2, NULL, error);
    free(id);
    return code;
}

static uint32_t take_header(struct send *send, const char *member, const char *value, struct cdonts_error *error)
{
    const char *colon = strchr(value, ':');
    (void)member;
    if (!colon)
        return fail(error, "\"Name: value\" was expected");
    char *name = slice_copy(slice_trim(slice_make(value, (size_t)(colon - value))));
    uint32_t code = cdonts_set_header(send->mail, name, colon + 1 + strspn(colon + 1, " "), error);
    free(name);
    return code;
}

static const struct { const char *names[3]; const char *member; take_fn *take; } options_table[] = {
    {{"-t", "-to", "--to"}, "To", take_text},
    {{"-f", "-from", "--from"}, "From", take_text},
    {{"-s", "-subject", "--subject"}, "Subject", take_text},
    {{"-b", "-body", "--text"}, "Body", take_text},
    {{"--html"}, "HTMLBody", take_text},
    {{"--cc"}, "Cc", take_text},
    {{"--bcc"}, "Bcc", take_text},
    {{"--attach"}, NULL, take_file},
    {{"--inline"}, "AttachInline", take_inline},
    {{"--header"}, NULL, take_header},
    {{"--importance"}, "Importance", take_importance},
    {{"--calendar"}, "Calendar", take_text},
    {{"--unsubscribe"}, "Unsubscribe", take_text},
    {{"--deliver-at"}, "DeliverAt", take_time},
};

static int exit_code(uint32_t code)
{
    return code == CDONTS_E_NOT_FOUND       ? EX_NOINPUT
           : code == CDONTS_E_DISK_ERROR    ? EX_TEMPFAIL
           : code == CDONTS_E_NO_RECIPIENTS ? EX_USAGE
           : code == CDONTS_E_NOT_ENOUGH_MEMORY ? EX_OSERR
                                                : EX_DATAERR;
}

/* -1 if `option` isn't in the table; else 0 or an exit code after a complaint. */
static int take_option(struct send *send, const char *option, const char *value)
{
    struct cdonts_error error = {0};
    for (size_t i = 0; i < COUNT_OF(options_table); i++) {
        for (size_t k = 0; k < COUNT_OF(options_table[i].names) && options_table[i].names[k]; k++) {
            if (strcmp(option, options_table[i].names[k]) != 0)
                continue;
            if (!value)
                return command_fail("send", EX_USAGE, "%s: a value was expected", option);
            uint32_t code = options_table[i].take(send, options_table[i].member, value, &error);
            return code == CDONTS_OK ? 0 : command_fail("send", exit_code(code), "%s: %s", option, error.text);
        }
    }
    return -1;
}

/* 0, or an exit code after a complaint. */
static int take_options(struct send *send, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--wait") == 0) {
            send->is_waited = true;
            continue;
        }
        if (strcmp(argv[i], "--timeout") == 0 && i + 1 < argc) {
            send->timeout = argv[++i];
            continue;
        }
        bool is_option = argv[i][0] == '-' && argv[i][1];
        int code = take_option(send, is_option ? argv[i] : "-t", is_option ? argv[i + 1] : argv[i]);
        if (code < 0)
            return command_fail("send", EX_USAGE, "%s: no such option", argv[i]);
        if (code > 0)
            return code;
        i += is_option;
    }
    return 0;
}

/* One line of the terminal, as a value of that member; an empty one leaves it out. */
static int ask(struct send *send, const char *prompt, const char *member)
{
    struct cdonts_error error = {0};
    char *line = NULL;
    size_t room = 0;
    (void)fputs(prompt, stderr);
    ssize_t size = getline(&line, &room, stdin);
    struct slice value = slice_trim(slice_make(line, size > 0 ? (size_t)size : 0));
    char *text = slice_copy(value);
    uint32_t code = value.size ? take_text(send, member, text, &error) : CDONTS_OK;
    free(text);
    free(line);
    return code == CDONTS_OK ? EX_OK : command_fail("send", exit_code(code), "%s: %s", member, error.text);
}

/* Who sits at a terminal is asked for what the command line left out. */
static int ask_for_the_rest(struct send *send)
{
    int code = EX_OK;
    if (send->has_text || !isatty(STDIN_FILENO))
        return EX_OK;
    (void)setvbuf(stdin, NULL, _IONBF, 0); /* what follows these lines is read(2) */
    if (!send->has_to)
        code = ask(send, "To: ", "To");
    if (code == EX_OK && !send->has_subject)
        code = ask(send, "Subject: ", "Subject");
    if (code == EX_OK)
        (void)fputs("The text; Ctrl-D on a line of its own ends it:\n", stderr);
    return code;
}

static int read_text(struct send *send, size_t size_max)
{
    struct buf text = {0};
    struct cdonts_error error = {0};
    ssize_t got;
    while ((got = read(STDIN_FILENO, buf_reserve(&text, 65536), 65536)) > 0 && text.size < size_max)
        text.size += (size_t)got;
    int code = EX_OK;
    if (text.size >= size_max)
        code = command_fail("send", EX_DATAERR, "the text is longer than limits.message_size");
    else if (memchr(text.data, 0, text.size))
        code = command_fail("send", EX_DATAERR, "the text holds a NUL");
    else if (cdonts_put_text(send->mail, "Body", buf_text(&text), &error) != CDONTS_OK)
        code = command_fail("send", EX_DATAERR, "the text is no UTF-8");
    buf_finish(&text);
    return code;
}

static int submit(struct send *send, const struct config *config, char **ret_name)
{
    struct cdonts_error error = {0};
    if (!send->has_from && !config->default_sender)
        return command_fail("send", EX_USAGE, "-f SENDER was expected (or default_sender in the config)");
    if (!send->has_from)
        (void)cdonts_put_text(send->mail, "From", config->default_sender, &error); /* an address: config checked it */
    (void)cdonts_put_text(send->mail, "PickupFolder", config->pickup.dir, &error); /* what fails, fails in Send: N5 */
    (void)cdonts_put_number(send->mail, "MailFormat", CDONTS_MIME, &error);
    int code = ask_for_the_rest(send);
    if (code == EX_OK && !send->has_text)
        code = read_text(send, config->limits.message_size);
    if (code != EX_OK)
        return code;
    uint32_t result = cdonts_send(send->mail, &error);
    if (result != CDONTS_OK)
        return command_fail("send", exit_code(result), "%s", error.text);
    *ret_name = cdonts_get_text(send->mail, "PickupName", &error);
    return EX_OK;
}

static int wait_for(const struct send *send, const struct command_options *options, char *name)
{
    char *arguments[8] = {(char *)(uintptr_t)"wait", name, (char *)(uintptr_t)"--timeout",
                          (char *)(uintptr_t)(send->timeout ? send->timeout : "60s")};
    int count = 4;
    if (options->config_file) {
        arguments[count++] = (char *)(uintptr_t)"-c";
        arguments[count++] = (char *)(uintptr_t)options->config_file;
    }
    if (options->is_json)
        arguments[count++] = (char *)(uintptr_t)"--json";
    return command_wait(count, arguments);
}

int command_send(int argc, char **argv)
{
    struct command_options options;
    struct send send = {.mail = cdonts_create("NewMail", NULL)};
    char *name = NULL;
    if (!send.mail)
        return EX_OSERR;
    command_parse(&argc, argv, &options);
    int code = take_options(&send, argc, argv);
    if (code == EX_OK) {
        struct config *config = command_config(&options);
        code = submit(&send, config, &name);
        config_destroy(&config);
    }
    cdonts_release(send.mail);
    if (code == EX_OK && !send.is_waited)
        printf(options.is_json ? "{\"pickup\":\"%s\"}\n" : "%s\n", name);
    if (code == EX_OK && send.is_waited)
        code = wait_for(&send, &options, name);
    cdonts_free(name);
    return code;
}
