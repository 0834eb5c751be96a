#include "pickup/foreign.h"

#include "smtp/path.h"

struct session {
    struct slice rest;
    size_t line;          /* of the command at hand */
    bool has_sender, has_data, is_over;
    size_t recipients;
    struct buf *out;
    struct error *error;
};

static bool is_verb(struct slice line, struct slice verb)
{
    return slice_starts_nocase(line, verb) && (line.size == verb.size || line.data[verb.size] == ' ');
}

bool foreign_is_bsmtp(struct slice file)
{
    struct slice line = foreign_line(&file);
    return is_verb(line, SLICE("HELO")) || is_verb(line, SLICE("EHLO")) || slice_starts_nocase(line, SLICE("MAIL FROM:"));
}

static bool take_path(struct session *session, struct slice line, const char *prefix, const char *name)
{
    struct slice path, parameters;
    if (!smtp_path_read_bare(slice_from(line, 5), slice_of(prefix), &path, &parameters))
        return error_set(session->error, "line %zu: \"%s<address>\" was expected", session->line, prefix);
    foreign_put(session->out, name, path, slice_trim(parameters));
    return true;
}

static bool take_mail(struct session *session, struct slice line)
{
    if (session->has_data)
        return error_set(session->error, "line %zu: not one message: BSMTP with several; drop one file a message",
                         session->line);
    if (session->has_sender)
        return error_set(session->error, "line %zu: a second MAIL before DATA", session->line);
    session->has_sender = true;
    return take_path(session, line, "FROM:", "X-Sender");
}

static bool take_rcpt(struct session *session, struct slice line)
{
    if (!session->has_sender || session->has_data)
        return error_set(session->error, "line %zu: RCPT where MAIL FROM: was expected", session->line);
    session->recipients++;
    return take_path(session, line, "TO:", "X-Receiver");
}

/* RFC 5321 4.5.2: a lone dot ends it, another leading dot is taken away. */
static bool take_data(struct session *session)
{
    size_t begun = session->line;
    if (session->recipients == 0 || session->has_data)
        return error_set(session->error, "line %zu: DATA where %s was expected", begun,
                         session->has_data ? "the end" : "RCPT TO:");
    foreign_end_block(session->out);
    while (session->rest.size) {
        struct slice whole = session->rest, line = foreign_line(&session->rest);
        whole.size -= session->rest.size;
        session->line++;
        if (slice_equals(line, SLICE("."))) {
            session->has_data = true;
            return true;
        }
        buf_append(session->out, line.size && line.data[0] == '.' ? slice_from(whole, 1) : whole);
    }
    return error_set(session->error, "line %zu: DATA is not ended by a lone dot: the file is not whole", begun);
}

static bool take_reset(struct session *session)
{
    if (session->has_data)
        return true;
    buf_clear(session->out);
    session->has_sender = false;
    session->recipients = 0;
    return true;
}

static bool take_command(struct session *session, struct slice line)
{
    static const struct slice idle[] = {{"HELO", 4}, {"EHLO", 4}, {"NOOP", 4}, {"VERB", 4}, {"TICK", 4}, {"XACK", 4}};
    if (slice_trim(line).size == 0)
        return true;
    for (size_t i = 0; i < COUNT_OF(idle); i++)
        if (is_verb(line, idle[i]))
            return true;
    if (is_verb(line, SLICE("MAIL")) && line.size > 5)
        return take_mail(session, line);
    if (is_verb(line, SLICE("RCPT")) && line.size > 5)
        return take_rcpt(session, line);
    if (slice_equals_nocase(slice_trim(line), SLICE("DATA")))
        return take_data(session);
    if (is_verb(line, SLICE("RSET")))
        return take_reset(session);
    session->is_over = is_verb(line, SLICE("QUIT"));
    return session->is_over
           || error_set(session->error, "line %zu: BSMTP: HELO, EHLO, MAIL, RCPT, DATA, RSET, NOOP or QUIT was expected",
                        session->line);
}

bool foreign_bsmtp(struct slice file, struct buf *out, struct error *error)
{
    struct session session = {.rest = file, .out = out, .error = error};
    while (session.rest.size && !session.is_over) {
        session.line++;
        if (!take_command(&session, foreign_line(&session.rest)))
            return false;
    }
    if (slice_trim(session.rest).size)
        return error_set(error, "line %zu: something stands behind QUIT", session.line + 1);
    return session.has_data || error_set(error, "line %zu: BSMTP without a message: DATA was expected", session.line);
}
