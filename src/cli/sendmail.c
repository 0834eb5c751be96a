/* sendmail: the command that cron, PHP and scripts call; it writes a pickup file and nothing more.
 *
 * The command line is sendmail_options.h's. With -t the recipients are those of the header; arguments are then taken out
 * of them by sendmail and added by Exim: since only the relay reads headers here, -t with arguments is refused rather than
 * guessed at. Exit codes are sysexits(3); nothing is left in Pickup unless it is 0. */
#include "cli/command.h"
#include "cli/sendmail_bs.h"
#include "cli/sendmail_options.h"
#include "message/aliases.h"
#include "message/header.h"

#include "base/mem.h"
#include "os/control.h"
#include "os/file.h"
#include "pickup/pickup_writer.h"

#include <fcntl.h>
#include <jansson.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct sendmail {
    struct sendmail_options options;
    const struct slice *recipients;
    size_t recipient_count;
};

/* Standard input up to its end, or to a lone dot. */
static bool read_message(const struct sendmail *send, size_t size_max, struct buf *out, struct error *error)
{
    for (;;) {
        ssize_t got = read(STDIN_FILENO, buf_reserve(out, 65536), 65536);
        if (got < 0)
            return error_set_errno(error, "standard input");
        if (got == 0)
            break;
        out->size += (size_t)got;
        if (out->size > size_max)
            return error_set(error, "larger than limits.message_size");
    }
    if (send->options.is_dot_data)
        return true;
    struct slice rest = buf_slice(out);
    for (size_t at = 0; rest.size; at = out->size - rest.size) {
        struct slice line = slice_trim(slice_cut(&rest, '\n'));
        if (slice_equals(line, SLICE(".")))  {
            out->size = at;
            break;
        }
    }
    return true;
}

/* "root" of a message without From, as the relay names who wrote it. */
static void put_from(const struct sendmail *send, struct buf *out)
{
    const struct sendmail_options *options = &send->options;
    if (slice_is_absent(options->name) || slice_is_absent(options->sender))
        return;
    buf_append_text(out, "From: \"");
    for (size_t i = 0; i < options->name.size; i++) {
        char c = options->name.data[i];
        if (c != '"' && c != '\\' && (unsigned char)c >= 0x20)
            buf_append_byte(out, c);
    }
    buf_printf(out, "\" <%.*s>\r\n", SLICE_FMT(options->sender));
}

static bool has_from(struct slice message)
{
    while (message.size) {
        struct slice line = slice_cut(&message, '\n');
        if (slice_starts_nocase(line, SLICE("From:")))
            return true;
        if (slice_trim(line).size == 0)
            return false;
    }
    return false;
}

/* Who calls, as the system knows it; the environment could say anything. */
static struct slice user_name(struct arena *arena)
{
    const struct passwd *user = getpwuid(getuid());
    return user ? arena_copy(arena, slice_of(user->pw_name)) : arena_printf(arena, "uid%u", (unsigned)getuid());
}

/* RET and ENVID stand in the line that names the sender: the one whom the relay would find. */
static struct slice sender_of(struct arena *arena, const struct config *config, struct slice message)
{
    struct header_limits limits = {config->limits.header_size, (size_t)config->limits.header_count, (size_t)config->limits.recipients};
    struct header header;
    struct address_list list;
    struct error error;
    if (!header_scan(arena, message, &limits, &header, &error))
        return user_name(arena); /* the relay refuses it with the reason */
    const struct header_field *field = header_find(&header, SLICE("Sender"), 0);
    field = field ? field : header_find(&header, SLICE("From"), 0);
    if (!field || !address_list_parse(arena, field->value, 100, &list, &error) || list.count == 0)
        return user_name(arena);
    return list.items[0].text;
}

static int submit(const struct config *config, const struct sendmail *send)
{
    struct buf message = {0};
    struct error error;
    char name[PICKUP_WRITER_NAME_SIZE];
    struct arena arena = {0};
    struct buf body = {0};
    int code = EX_OK;
    if (!read_message(send, config->limits.message_size, &body, &error)) {
        buf_finish(&body);
        return command_fail("sendmail", EX_DATAERR, "%s", error.text);
    }
    if (!has_from(buf_slice(&body)))
        put_from(send, &message);
    buf_append(&message, buf_slice(&body));
    buf_finish(&body);
    struct submission_recipient *recipients = arena_alloc(&arena, (send->recipient_count + 1) * sizeof *recipients);
    for (size_t i = 0; i < send->recipient_count; i++)
        recipients[i] = (struct submission_recipient){send->recipients[i], send->options.notify, SLICE_NONE};
    struct submission submission = {.sender = send->options.sender, .ret = send->options.ret, .envid = send->options.envid,
                                    .recipients = recipients, .recipient_count = send->recipient_count,
                                    .message = buf_slice(&message)};
    bool has_parameters = !slice_is_absent(submission.ret) || !slice_is_absent(submission.envid);
    if (slice_is_absent(submission.sender) && has_from(submission.message) && has_parameters)
        submission.sender = sender_of(&arena, config, submission.message);
    else if (slice_is_absent(submission.sender) && !has_from(submission.message))
        submission.sender = user_name(&arena);
    if (!pickup_write(config->pickup.dir, &submission, name, &error))
        code = command_fail("sendmail", EX_TEMPFAIL, "%s", error.text);
    else if (send->options.is_verbose)
        printf("%s: taken; mailroot trace %s tells what becomes of it\n", name, name);
    buf_finish(&message);
    arena_finish(&arena);
    return code;
}

/* -q: what waits is tried now, if the relay runs; without one there is nothing to do before it starts. */
static int flush(const struct config *config)
{
    char path[4096];
    struct error error;
    json_t *answer = NULL, *request = json_pack("{s:s}", "do", "flush");
    (void)snprintf(path, sizeof path, "%s/control.sock", config->root);
    enum control_result result = control_request(path, request, &answer, &error);
    json_decref(request);
    json_decref(answer);
    return result == CONTROL_FAILED ? command_fail("sendmail", EX_TEMPFAIL, "%s", error.text) : EX_OK;
}

/* A closed standard descriptor would be given to the next file that is opened. */
static void open_standard(void)
{
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            (void)open("/dev/null", fd == 0 ? O_RDONLY : O_WRONLY);
}

static int list(void)
{
    char *words[] = {(char *)(uintptr_t)"queue", (char *)(uintptr_t)"list", NULL};
    return command_queue(2, words);
}

/* -qI, -qR, -qS: what they name is tried now. */
static int retry(const struct sendmail_options *options)
{
    struct buf pattern = {0};
    bool is_id = options->select == 'I';
    buf_printf(&pattern, is_id ? "%.*s" : "*%.*s*", SLICE_FMT(options->selected));
    char *condition = (char *)(uintptr_t)(options->select == 'S' ? "--sender" : "--recipient");
    char *words[] = {(char *)(uintptr_t)"queue", (char *)(uintptr_t)"retry", is_id ? (char *)(uintptr_t)buf_text(&pattern) : condition,
                     is_id ? NULL : (char *)(uintptr_t)buf_text(&pattern), NULL};
    int code = command_queue(is_id ? 3 : 4, words);
    buf_finish(&pattern);
    return code;
}

/* newaliases: they were read, and found without a mistake, with the config. */
static int count_aliases(const struct config *config)
{
    if (config->aliases)
        printf("%s: %zu aliases; the relay reads them at its next start or reload\n", config->local.alias_file,
               aliases_count(config->aliases));
    else
        puts("no aliases: local.aliases names no file");
    return EX_OK;
}

static int verify_one(const struct config *config, struct slice text)
{
    struct arena arena = {0};
    struct address address, *found = &address;
    struct error error;
    size_t count = 1;
    int worst = EX_OK;
    if (!address_parse(&arena, text, &address, &error)) {
        arena_finish(&arena);
        return command_fail("sendmail", EX_DATAERR, "%.*s: %s", SLICE_FMT(text), error.text);
    }
    address_qualify(&arena, slice_of(config->default_domain), &address);
    if (config_is_local(config, address.domain) && aliases_expand(&arena, config->aliases, &address, &found, &count))
        printf("%.*s is an alias\n", SLICE_FMT(address.text));
    else
        found = &address;
    for (size_t i = 0; i < count; i++) {
        char *words[] = {(char *)(uintptr_t)"route", arena_text(&arena, found[i].text), NULL};
        int code = command_route(2, words);
        worst = code != EX_OK ? code : worst;
    }
    arena_finish(&arena);
    return worst;
}

static int verify(const struct sendmail *send, const struct config *config)
{
    int worst = EX_OK;
    for (size_t i = 0; i < send->recipient_count; i++) {
        int code = verify_one(config, send->recipients[i]);
        worst = code != EX_OK ? code : worst;
    }
    return worst;
}

static int run(const struct sendmail *send, const struct config *config)
{
    switch (send->options.mode) {
    case SENDMAIL_SMTP:
        return sendmail_bs(config);
    case SENDMAIL_LIST:
        return list();
    case SENDMAIL_ALIASES:
        return count_aliases(config);
    case SENDMAIL_FLUSH:
        return send->options.select ? retry(&send->options) : flush(config);
    case SENDMAIL_VERIFY:
        return verify(send, config);
    case SENDMAIL_SUBMIT:
        break;
    }
    if (send->options.is_from_header && send->recipient_count)
        return command_fail("sendmail", EX_USAGE, "-t takes the recipients from the header: no arguments beside it");
    if (!send->options.is_from_header && send->recipient_count == 0)
        return command_fail("sendmail", EX_USAGE, "recipients, or -t, were expected");
    return submit(config, send);
}

static int read_command_line(int argc, char **argv, struct sendmail_options *options)
{
    struct error error;
    if (strcmp(argv[0], "mailq") == 0)
        options->mode = SENDMAIL_LIST;
    if (strcmp(argv[0], "newaliases") == 0)
        options->mode = SENDMAIL_ALIASES;
    int first = sendmail_options_read(argc, argv, options, &error);
    if (first < 0)
        return command_fail("sendmail", -1, "%s", error.text);
    if (options->is_verbose && options->notes.size)
        fprintf(stderr, "mailroot sendmail: without effect:%s\n", buf_text(&options->notes));
    return first;
}

int command_sendmail(int argc, char **argv)
{
    struct sendmail send = {.options.mode = SENDMAIL_SUBMIT};
    struct command_options options = {0};
    open_standard();
    signal(SIGXFSZ, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    int first = read_command_line(argc, argv, &send.options);
    if (first < 0) {
        buf_finish(&send.options.notes);
        return EX_USAGE;
    }
    struct slice *recipients = mem_alloc(((size_t)argc + 1) * sizeof *recipients);
    for (int i = first; i < argc; i++)
        recipients[send.recipient_count++] = slice_of(argv[i]);
    send.recipients = recipients;
    struct config *config = command_config(&options);
    int code = run(&send, config);
    config_destroy(&config);
    buf_finish(&send.options.notes);
    free(recipients);
    return code;
}
