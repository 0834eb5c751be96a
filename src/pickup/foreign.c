#include "pickup/foreign.h"

struct slice foreign_line(struct slice *rest)
{
    struct slice line = slice_cut(rest, '\n');
    if (line.size && line.data[line.size - 1] == '\r')
        line.size--;
    return line;
}

void foreign_put(struct buf *out, const char *name, struct slice address, struct slice parameters)
{
    buf_printf(out, "%s: <", name);
    buf_append(out, address);
    buf_append_text(out, parameters.size ? "> " : ">");
    buf_append(out, parameters);
    buf_append_text(out, "\r\n");
}

void foreign_end_block(struct buf *out)
{
    static const struct slice name = {"X-EndOfInjectedXHeaders: ", 25};
    buf_append(out, name);
    buf_printf(out, "%010zu\r\n", out->size + 12); /* its ten digits and line end count */
}

enum foreign_result foreign_translate(struct slice file, int dialect, struct buf *out, const char **ret_dialect,
                                      struct error *error)
{
    bool is_auto = dialect == CONFIG_DIALECT_AUTO;
    if (dialect == CONFIG_DIALECT_BSMTP || (is_auto && foreign_is_bsmtp(file))) {
        *ret_dialect = "bsmtp";
        return foreign_bsmtp(file, out, error) ? FOREIGN_DONE : FOREIGN_BAD;
    }
    if (dialect == CONFIG_DIALECT_RAW || (is_auto && foreign_is_raw(file))) {
        *ret_dialect = "mdaemon-raw";
        return foreign_raw(file, out, error) ? FOREIGN_DONE : FOREIGN_BAD;
    }
    return FOREIGN_NOT;
}

static bool take_line(struct slice line, struct buf *out, bool *has_sender, size_t *recipients)
{
    static const struct slice receivers[] = {{"To-Remote", 9}, {"To-Local", 8}};
    struct slice value = line, name = slice_cut(&value, ':');
    if (!slice_starts_nocase(name, SLICE("X-MailRelay-")))
        return false;
    name = slice_from(name, 12);
    value = slice_trim(value);
    if (slice_equals_nocase(name, SLICE("From")) && !*has_sender) {
        foreign_put(out, "X-Sender", value, SLICE(""));
        *has_sender = true;
    }
    for (size_t i = 0; i < COUNT_OF(receivers); i++) {
        if (!slice_equals_nocase(name, receivers[i]))
            continue;
        foreign_put(out, "X-Receiver", value, SLICE(""));
        (*recipients)++;
    }
    return true;
}

bool foreign_join(struct slice envelope, struct slice content, struct buf *out, struct error *error)
{
    bool has_sender = false, is_ended = false;
    size_t recipients = 0, number = 1;
    for (; envelope.size && !is_ended; number++) {
        struct slice line = foreign_line(&envelope);
        if (!take_line(line, out, &has_sender, &recipients))
            return error_set(error, "envelope, line %zu: a line as in \"X-MailRelay-From: a@example.com\" was expected", number);
        is_ended = slice_starts_nocase(line, SLICE("X-MailRelay-End:"));
    }
    if (!is_ended)
        return error_set(error, "envelope, line %zu: X-MailRelay-End is missing: it is not whole", number);
    if (!has_sender || recipients == 0)
        return error_set(error, "envelope: X-MailRelay-From and X-MailRelay-To-Remote lines were expected");
    foreign_end_block(out);
    buf_append(out, content);
    return true;
}
