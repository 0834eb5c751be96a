/* sendmail: the command that cron, PHP and scripts call; it writes a pickup file and nothing more.
 *
 * Only options that say something about the message count. Those that name files or settings of a sendmail (-C -X -O -D
 * -oQ) are taken and ignored, never acted on (RELIABILITY 2.2 C1). With -t the recipients are those of the header;
 * arguments are then taken out of them, as sendmail does: since only the relay reads headers here, -t with arguments is
 * refused rather than guessed at. Exit codes are sysexits(3); nothing is left in Pickup unless it is 0. */
#include "cli/command.h"
#include "cli/queue.h"

#include "os/control.h"
#include "os/file.h"
#include "pickup/pickup_writer.h"

#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct sendmail {
    struct slice sender, name, notify, ret, envid;
    const struct slice *recipients;
    size_t recipient_count;
    bool is_from_header;      /* -t */
    bool is_dot_data;         /* -i, -oi: a lone dot is no end */
    char mode;                /* 'm' deliver, 'p' list, 'i' nothing, 's' refused */
    bool is_flush;            /* -q */
};

/* Options with a value, here or in the next argument. Those without a place are read over. */
static bool take_valued(struct sendmail *send, char option, const char *value)
{
    switch (option) {
    case 'f':
    case 'r':
        send->sender = slice_of(value);
        return true;
    case 'F':
        send->name = slice_of(value);
        return true;
    case 'N':
        send->notify = slice_of(value);
        return true;
    case 'R':
        send->ret = slice_of(value);
        return true;
    case 'V':
        send->envid = slice_of(value);
        return true;
    default:
        return strchr("CXODLBdhpAM", option) != NULL;
    }
}

static bool take_flag(struct sendmail *send, const char *text)
{
    switch (text[0]) {
    case 't':
        send->is_from_header = true;
        return true;
    case 'i':
        send->is_dot_data = true;
        return true;
    case 'o':
        if (text[1] == 'i')
            send->is_dot_data = true;
        return true;
    case 'b':
        send->mode = text[1] ? text[1] : 'm';
        return true;
    case 'q':
        send->is_flush = true;
        return true;
    default:
        return strchr("mnsveUGc", text[0]) != NULL;
    }
}

/* Fills `send`; the index of the first recipient, or -1 with a complaint. */
static int take_options(struct sendmail *send, int argc, char **argv)
{
    int i = 1;
    for (; i < argc && argv[i][0] == '-' && argv[i][1]; i++) {
        const char *text = argv[i] + 1;
        if (strcmp(text, "-") == 0)
            return i + 1;
        if (strchr("frFNRVCXODLBdhpAM", text[0])) {
            const char *value = text[1] ? text + 1 : i + 1 < argc ? argv[++i] : NULL;
            if (!value || !take_valued(send, text[0], value)) {
                (void)command_fail("sendmail", 0, "-%c: a value was expected", text[0]);
                return -1;
            }
        } else if (!take_flag(send, text)) {
            (void)command_fail("sendmail", 0, "-%s: no such option", text);
            return -1;
        }
    }
    return i;
}

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
    if (send->is_dot_data)
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
    if (slice_is_absent(send->name) || slice_is_absent(send->sender))
        return;
    buf_append_text(out, "From: \"");
    for (size_t i = 0; i < send->name.size; i++) {
        char c = send->name.data[i];
        if (c != '"' && c != '\\' && (unsigned char)c >= 0x20)
            buf_append_byte(out, c);
    }
    buf_printf(out, "\" <%.*s>\r\n", SLICE_FMT(send->sender));
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

static int submit(const struct config *config, const struct sendmail *send)
{
    struct buf message = {0};
    struct error error;
    char name[PICKUP_WRITER_NAME_SIZE], user[256];
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
    struct submission submission = {.sender = send->sender, .ret = send->ret, .envid = send->envid,
                                    .recipients = send->recipients, .recipient_count = send->recipient_count,
                                    .notify = send->notify, .message = buf_slice(&message)};
    if (slice_is_absent(submission.sender) && !has_from(submission.message)) {
        const char *login = getenv("LOGNAME");
        (void)snprintf(user, sizeof user, "%s", login && login[0] ? login : "root");
        submission.sender = slice_of(user);
    }
    if (!pickup_write(config->pickup.dir, &submission, name, &error))
        code = command_fail("sendmail", EX_TEMPFAIL, "%s", error.text);
    buf_finish(&message);
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

static int run(const struct sendmail *send, const struct config *config)
{
    static char *const list[] = {(char *)"queue", (char *)"list", NULL};
    if (send->mode == 's')
        return command_fail("sendmail", EX_USAGE, "-bs is not offered: use the SMTP listener");
    if (send->mode == 'p')
        return command_queue(2, (char **)(uintptr_t)list);
    if (send->mode != 'm')
        return EX_OK; /* -bi, newaliases: there are no aliases */
    if (send->is_flush)
        return flush(config);
    if (send->is_from_header && send->recipient_count)
        return command_fail("sendmail", EX_USAGE, "-t takes the recipients from the header: no arguments beside it");
    if (!send->is_from_header && send->recipient_count == 0)
        return command_fail("sendmail", EX_USAGE, "recipients, or -t, were expected");
    return submit(config, send);
}

int command_sendmail(int argc, char **argv)
{
    struct sendmail send = {.mode = 'm'};
    struct command_options options = {0};
    open_standard();
    signal(SIGXFSZ, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    if (strcmp(argv[0], "mailq") == 0)
        send.mode = 'p';
    if (strcmp(argv[0], "newaliases") == 0)
        send.mode = 'i';
    int first = take_options(&send, argc, argv);
    if (first < 0)
        return EX_USAGE;
    struct slice *recipients = calloc((size_t)argc + 1, sizeof *recipients);
    if (!recipients)
        return EX_OSERR;
    for (int i = first; i < argc; i++) {
        if (strpbrk(argv[i], "\r\n")) {
            free(recipients);
            return command_fail("sendmail", EX_USAGE, "a line end in a recipient");
        }
        recipients[send.recipient_count++] = slice_of(argv[i]);
    }
    send.recipients = recipients;
    struct config *config = command_config(&options);
    int code = run(&send, config);
    config_destroy(&config);
    free(recipients);
    return code;
}
