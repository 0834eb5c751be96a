/* mailroot send: compose a message on the command line and drop it in Pickup.
 *
 * Text is UTF-8: the subject becomes encoded-words where it isn't ASCII (RFC 2047: at most 75 octets each, whole
 * characters), the body quoted-printable; attachments are base64 with the file's base name (RFC 2231 where it isn't ASCII). */
#include "cli/command.h"

#include "base/utf8.h"
#include "message/content_private.h"
#include "os/clock.h"
#include "os/file.h"
#include "pickup/pickup_writer.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { RECIPIENTS_MAX = 1000, FILES_MAX = 100, WORD_OCTETS = 42 }; /* 42 octets make 56 of base64 */

struct list { const char *items[RECIPIENTS_MAX]; size_t count; };

struct send {
    const char *from, *subject, *timeout;
    struct list to, cc, bcc, files;
    bool is_waited;
};

/* ---- options ---- */

static bool add(struct list *list, const char *item)
{
    if (list->count == RECIPIENTS_MAX)
        return false;
    list->items[list->count++] = item;
    return true;
}

/* 0, or an exit code after a complaint. */
static int take_options(struct send *send, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const struct { const char *name; const char **text; struct list *list; } options[] = {
            {"-f", &send->from, NULL},  {"-s", &send->subject, NULL}, {"--timeout", &send->timeout, NULL},
            {"--cc", NULL, &send->cc},  {"--bcc", NULL, &send->bcc},  {"--attach", NULL, &send->files},
        };
        bool is_taken = false;
        for (size_t k = 0; k < COUNT_OF(options) && !is_taken; k++) {
            if (strcmp(argv[i], options[k].name) != 0)
                continue;
            if (++i >= argc)
                return command_fail("send", EX_USAGE, "%s: a value was expected", options[k].name);
            if (options[k].text)
                *options[k].text = argv[i];
            else if (!add(options[k].list, argv[i]))
                return command_fail("send", EX_USAGE, "%s: too many", options[k].name);
            is_taken = true;
        }
        if (is_taken)
            continue;
        if (strcmp(argv[i], "--wait") == 0)
            send->is_waited = true;
        else if (argv[i][0] == '-')
            return command_fail("send", EX_USAGE, "%s: no such option", argv[i]);
        else if (!add(&send->to, argv[i]))
            return command_fail("send", EX_USAGE, "too many recipients");
        if (strpbrk(argv[i], "\r\n"))
            return command_fail("send", EX_USAGE, "a line end in an address");
    }
    if (send->to.count + send->cc.count + send->bcc.count == 0)
        return command_fail("send", EX_USAGE, "a recipient was expected");
    return send->files.count > FILES_MAX ? command_fail("send", EX_USAGE, "at most %d files", FILES_MAX) : 0;
}

/* ---- composing ---- */

/* RFC 2047; the text is clean UTF-8. */
static void put_words(struct buf *out, struct slice text)
{
    bool is_first = true;
    while (text.size) {
        size_t size = 0, next;
        while (size < text.size && (next = utf8_sequence(slice_from(text, size))) && size + next <= WORD_OCTETS)
            size += next;
        struct buf word = {0};
        encode_base64(slice_first(text, size), &word);
        buf_printf(out, "%s=?utf-8?B?%.*s?=", is_first ? "" : "\r\n ", SLICE_FMT(slice_trim(buf_slice(&word))));
        buf_finish(&word);
        is_first = false;
        text = slice_from(text, size);
    }
}

static void put_list(struct buf *out, const char *name, const struct list *list)
{
    for (size_t i = 0; i < list->count; i++)
        buf_printf(out, "%s%s", i ? ",\r\n " : name, list->items[i]);
    if (list->count)
        buf_append_text(out, "\r\n");
}

static void put_header(struct buf *out, const struct send *send)
{
    struct slice subject = slice_of(send->subject);
    if (send->from)
        buf_printf(out, "From: %s\r\n", send->from);
    put_list(out, "To: ", &send->to);
    put_list(out, "Cc: ", &send->cc);
    put_list(out, "Bcc: ", &send->bcc);
    if (send->subject) {
        buf_append_text(out, "Subject: ");
        if (slice_has_8bit(subject) || subject.size > 900)
            put_words(out, subject);
        else
            buf_append(out, subject);
        buf_append_text(out, "\r\n");
    }
    buf_append_text(out, "MIME-Version: 1.0\r\n");
}

static void put_text_part(struct buf *out, struct slice text)
{
    struct buf canonical = {0};
    body_canonical(text, BODY_DOTS_KEEP, false, &canonical);
    buf_append_text(out, "Content-Type: text/plain; charset=utf-8\r\n"
                         "Content-Transfer-Encoding: quoted-printable\r\n\r\n");
    encode_quoted_printable(buf_slice(&canonical), out);
    buf_finish(&canonical);
}

/* filename="…" for ASCII, filename*=utf-8''%xx for the rest. */
static void put_file_name(struct buf *out, const char *path)
{
    const char *slash = strrchr(path, '/');
    struct slice name = slice_of(slash ? slash + 1 : path);
    bool is_plain = !slice_has_8bit(name) && slice_find_byte(name, '"') < 0 && slice_find_byte(name, '\\') < 0;
    buf_append_text(out, is_plain ? "filename=\"" : "filename*=utf-8''");
    for (size_t i = 0; i < name.size; i++) {
        unsigned char c = (unsigned char)name.data[i];
        bool is_safe = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '.' || c == '-'
                       || c == '_';
        if (is_safe || (is_plain && c >= 0x20 && c < 0x7f))
            buf_append_byte(out, (char)c);
        else
            buf_printf(out, "%%%02X", c);
    }
    buf_append_text(out, is_plain ? "\"" : "");
}

static bool put_file(struct buf *out, const char *path, size_t size_max, struct error *error)
{
    struct buf bytes = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool is_read = fd >= 0 ? file_read(fd, size_max, &bytes, error) : error_set_errno(error, "open");
    if (fd >= 0)
        close(fd);
    if (is_read) {
        buf_append_text(out, "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n"
                             "Content-Disposition: attachment; ");
        put_file_name(out, path);
        buf_append_text(out, "\r\n\r\n");
        encode_base64(buf_slice(&bytes), out);
    }
    buf_finish(&bytes);
    return is_read || error_prefix(error, "%s", path);
}

static bool compose(const struct send *send, struct slice text, size_t size_max, struct buf *out, struct error *error)
{
    char boundary[64];
    put_header(out, send);
    if (send->files.count == 0) {
        put_text_part(out, text);
        return true;
    }
    /* "=_" can't occur in quoted-printable or base64 (RFC 2045 6.7). */
    (void)snprintf(boundary, sizeof boundary, "=_mailroot_%llx_%x", (unsigned long long)clock_wall_ms(),
                   (unsigned)getpid());
    buf_printf(out, "Content-Type: multipart/mixed; boundary=\"%s\"\r\n\r\n--%s\r\n", boundary, boundary);
    put_text_part(out, text);
    for (size_t i = 0; i < send->files.count; i++) {
        buf_printf(out, "\r\n--%s\r\n", boundary);
        if (!put_file(out, send->files.items[i], size_max, error))
            return false;
    }
    buf_printf(out, "\r\n--%s--\r\n", boundary);
    return true;
}

static int submit(const struct config *config, const struct send *send, char name[PICKUP_WRITER_NAME_SIZE])
{
    struct buf text = {0}, message = {0};
    struct error error;
    int code = EX_OK;
    if (!isatty(STDIN_FILENO)) {
        ssize_t got;
        while ((got = read(STDIN_FILENO, buf_reserve(&text, 65536), 65536)) > 0 && text.size < config->limits.message_size)
            text.size += (size_t)got;
    }
    struct submission submission = {.sender = SLICE_NONE};
    if (!send->from && !config->default_sender)
        code = command_fail("send", EX_USAGE, "-f SENDER was expected (or default_sender in the config)");
    else if (!utf8_is_valid(buf_slice(&text)) || !utf8_is_valid(slice_of(send->subject ? send->subject : "")))
        code = command_fail("send", EX_DATAERR, "the text is no UTF-8");
    else if (!compose(send, buf_slice(&text), config->limits.message_size, &message, &error))
        code = command_fail("send", EX_NOINPUT, "%s", error.text);
    submission.message = buf_slice(&message);
    if (code == EX_OK && !pickup_write(config->pickup.dir, &submission, name, &error))
        code = command_fail("send", EX_TEMPFAIL, "%s", error.text);
    buf_finish(&text);
    buf_finish(&message);
    return code;
}

int command_send(int argc, char **argv)
{
    struct command_options options;
    char name[PICKUP_WRITER_NAME_SIZE];
    struct send *send = calloc(1, sizeof *send);
    if (!send)
        return EX_OSERR;
    command_parse(&argc, argv, &options);
    int code = take_options(send, argc, argv);
    if (code == 0) {
        struct config *config = command_config(&options);
        code = submit(config, send, name);
        config_destroy(&config);
    }
    if (code == EX_OK && !send->is_waited)
        printf(options.is_json ? "{\"pickup\":\"%s\"}\n" : "%s\n", name);
    if (code == EX_OK && send->is_waited) {
        char *arguments[8] = {(char *)(uintptr_t)"wait", name, (char *)(uintptr_t)"--timeout",
                              (char *)(uintptr_t)(send->timeout ? send->timeout : "60s")};
        int count = 4;
        if (options.config_file) {
            arguments[count++] = (char *)(uintptr_t)"-c";
            arguments[count++] = (char *)(uintptr_t)options.config_file;
        }
        if (options.is_json)
            arguments[count++] = (char *)(uintptr_t)"--json";
        code = command_wait(count, arguments);
    }
    free(send);
    return code;
}
