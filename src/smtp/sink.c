#include "smtp/sink.h"

#include "smtp/path.h"

typedef void sink_command_fn(struct sink_session *session, struct slice argument);

static size_t feed_command(struct sink_session *session, struct slice bytes);
static size_t feed_data(struct sink_session *session, struct slice bytes);
static size_t feed_chunk(struct sink_session *session, struct slice bytes);

enum sink_want sink_feed(struct sink_session *session, struct slice bytes, int64_t now_us,
                         size_t *ret_consumed)
{
    size_t used = 0;

    session->now_us = now_us;
    while (used < bytes.size && session->want == SINK_READ) {
        struct slice rest = slice_from(bytes, used);
        switch (session->state) {
        case SINK_STATE_COMMAND: used += feed_command(session, rest); break;
        case SINK_STATE_DATA: used += feed_data(session, rest); break;
        case SINK_STATE_CHUNK: used += feed_chunk(session, rest); break;
        case SINK_STATE_ANSWER: CHECK(session->want != SINK_READ); break;
        }
    }
    *ret_consumed = used;
    return session->want;
}

static void reply(struct sink_session *session, const char *text)
{
    buf_append_text(&session->output, text);
    buf_append(&session->output, SLICE("\r\n"));
}

void sink_say(struct sink_session *session, const char *text)
{
    struct slice rest = slice_of(text), code = slice_first(rest, rest.size < 3 ? rest.size : 3);
    rest = slice_from(rest, rest.size < 4 ? rest.size : 4);
    do {
        struct slice line = slice_cut(&rest, '\n');
        buf_printf(&session->output, "%.*s%s%.*s\r\n", SLICE_FMT(code), rest.size ? "-" : " ", SLICE_FMT(line));
    } while (rest.size);
}

static void message_reset(struct sink_session *session)
{
    struct sink_message *message = &session->message;

    buf_clear(&message->sender);
    buf_clear(&message->recipients);
    buf_clear(&message->content);
    message->recipient_count = 0;
    message->size = 0;
    message->is_stuffed = false;
    session->has_sender = false;
}

void sink_init(struct sink_session *session, const struct sink_options *options, uint64_t seed)
{
    memset(session, 0, sizeof *session);
    session->options = options;
    session->random = seed | 1;
    buf_printf(&session->output, "220 %s ESMTP mailroot sink\r\n", options->host);
}

void sink_finish(struct sink_session *session)
{
    buf_finish(&session->output);
    buf_finish(&session->line);
    buf_finish(&session->message.sender);
    buf_finish(&session->message.recipients);
    buf_finish(&session->message.content);
    memset(session, 0, sizeof *session);
}

void sink_answer(struct sink_session *session, const char *text)
{
    CHECK(session->state == SINK_STATE_ANSWER);
    sink_say(session, text);
    message_reset(session);
    session->state = SINK_STATE_COMMAND;
    session->want = SINK_READ;
}

void sink_secured(struct sink_session *session)
{
    CHECK(session->want == SINK_TLS);
    /* RFC 3207 4.2: all that was learned before is forgotten */
    message_reset(session);
    session->is_secured = true;
    session->is_greeted = false;
    session->want = SINK_READ;
}

static void take_content(struct sink_session *session, struct slice bytes)
{
    struct sink_message *message = &session->message;
    enum sink_keep keep = session->options->keep;

    message->size += bytes.size;
    if (keep == SINK_KEEP_ALL) {
        buf_append(&message->content, bytes);
    } else if (keep == SINK_KEEP_HEADER && message->content.size < SINK_HEADER_KEPT_MAX) {
        size_t room = SINK_HEADER_KEPT_MAX - message->content.size;
        buf_append(&message->content, slice_first(bytes, bytes.size < room ? bytes.size : room));
    }
}

static void message_complete(struct sink_session *session)
{
    session->state = SINK_STATE_ANSWER;
    session->want = SINK_MESSAGE;
}

/* Where "CRLF . CRLF" that begins in what was seen before ends in `bytes`; 0 if it doesn't. */
static size_t find_spread_end(const char tail[4], struct slice bytes)
{
    char joint[8];
    size_t size = bytes.size < 4 ? bytes.size : 4;

    memcpy(joint, tail, 4);
    memcpy(joint + 4, bytes.data, size);
    ptrdiff_t at = slice_find(slice_make(joint, 4 + size), SLICE("\r\n.\r\n"));
    return at < 0 ? 0 : (size_t)at + 5 - 4;
}

static void remember_tail(char tail[4], struct slice bytes)
{
    size_t size = bytes.size < 4 ? bytes.size : 4;

    memmove(tail, tail + size, 4 - size);
    memcpy(tail + 4 - size, bytes.data + bytes.size - size, size);
}

static size_t feed_data(struct sink_session *session, struct slice bytes)
{
    size_t end = find_spread_end(session->tail, bytes);

    if (end == 0) {
        const char *found = memmem(bytes.data, bytes.size, "\r\n.\r\n", 5);
        end = found ? (size_t)(found - bytes.data) + 5 : 0;
    }
    take_content(session, slice_first(bytes, end ? end : bytes.size));
    if (end == 0) {
        remember_tail(session->tail, bytes);
        return bytes.size;
    }
    struct sink_message *message = &session->message;
    /* the end mark's own three octets are no content; they may have come in the reads before */
    message->size -= 3;
    if (message->content.size > message->size)
        message->content.size = message->size;
    message_complete(session);
    return end;
}

static void chunk_complete(struct sink_session *session)
{
    session->state = SINK_STATE_COMMAND;
    if (session->is_chunk_ignored)
        reply(session, "503 5.5.1 BDAT needs MAIL and RCPT first");
    else if (session->is_last_chunk)
        message_complete(session);
    else
        reply(session, "250 2.0.0 chunk taken");
}

static size_t feed_chunk(struct sink_session *session, struct slice bytes)
{
    size_t size = bytes.size < session->chunk_left ? bytes.size : (size_t)session->chunk_left;

    if (!session->is_chunk_ignored)
        take_content(session, slice_first(bytes, size));
    session->chunk_left -= size;
    if (session->chunk_left == 0)
        chunk_complete(session);
    return size;
}

/* ---- commands ---- */

static bool offers(const struct sink_session *session, unsigned extension)
{
    return (session->options->extensions & extension) != 0;
}

static void on_ehlo(struct sink_session *session, struct slice argument)
{
    static const struct {
        unsigned extension;
        const char *line;
    } lines[] = {
        {SMTP_PIPELINING, "PIPELINING"},
        {SMTP_SIZE, "SIZE 0"},
        {SMTP_8BITMIME, "8BITMIME"},
        {SMTP_SMTPUTF8, "SMTPUTF8"},
        {SMTP_CHUNKING, "CHUNKING"},
        {SMTP_DSN, "DSN"},
        {SMTP_ENHANCEDSTATUSCODES, "ENHANCEDSTATUSCODES"},
        {SMTP_STARTTLS, "STARTTLS"},
    };

    (void)argument; /* whoever calls is welcome */
    message_reset(session);
    session->is_greeted = true;
    /* RFC 5321 4.1.1.1: the name comes first; clients don't look for extensions there. */
    size_t last = session->output.size;
    buf_printf(&session->output, "250-%s\r\n", session->options->host);
    for (size_t i = 0; i < COUNT_OF(lines); i++) {
        if (!offers(session, lines[i].extension) || (lines[i].extension == SMTP_STARTTLS && session->is_secured))
            continue;
        last = session->output.size;
        buf_printf(&session->output, "250-%s\r\n", lines[i].line);
    }
    session->output.data[last + 3] = ' ';
}

static void on_helo(struct sink_session *session, struct slice argument)
{
    (void)argument; /* as for EHLO */
    message_reset(session);
    session->is_greeted = true;
    buf_printf(&session->output, "250 %s\r\n", session->options->host);
}

struct sink_parameter {
    struct slice name;
    unsigned extension;
};

/* Every parameter must be one that was offered (RFC 5321 4.1.1.11: 555). */
static bool parameters_known(const struct sink_session *session, struct slice rest,
                             const struct sink_parameter *known, size_t count)
{
    struct slice name, value;
    while (smtp_parameter_next(&rest, &name, &value)) {
        bool is_known = false;
        for (size_t i = 0; i < count && !is_known; i++)
            is_known =
                slice_equals_nocase(name, known[i].name) && offers(session, known[i].extension);
        if (!is_known)
            return false;
    }
    return true;
}

static void on_mail(struct sink_session *session, struct slice argument)
{
    static const struct sink_parameter known[] = {
        {{"SIZE", 4}, SMTP_SIZE}, {{"BODY", 4}, SMTP_8BITMIME}, {{"SMTPUTF8", 8}, SMTP_SMTPUTF8},
        {{"RET", 3}, SMTP_DSN},   {{"ENVID", 5}, SMTP_DSN},
    };
    struct slice path, rest;

    if (!session->is_greeted || session->has_sender) {
        reply(session, session->has_sender ? "503 5.5.1 MAIL was given" : "503 5.5.1 EHLO first");
    } else if (!smtp_path_read(argument, SLICE("FROM:"), &path, &rest)) {
        reply(session, "501 5.5.4 MAIL FROM:<address>");
    } else if (!parameters_known(session, rest, known, COUNT_OF(known))) {
        reply(session, "555 5.5.4 parameter not offered");
    } else {
        session->has_sender = true;
        session->message.mail_us = session->now_us;
        buf_append(&session->message.sender, path);
        reply(session, "250 2.1.0 ok");
    }
}

/* xorshift64: enough to spread rejections, the same for the same seed */
static bool is_chosen(struct sink_session *session, unsigned percent)
{
    uint64_t x = session->random;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    session->random = x;
    return x % 100 < percent;
}

static void on_rcpt(struct sink_session *session, struct slice argument)
{
    static const struct sink_parameter known[] = {
        {{"NOTIFY", 6}, SMTP_DSN},
        {{"ORCPT", 5}, SMTP_DSN},
    };
    const struct sink_options *options = session->options;
    struct sink_message *message = &session->message;
    struct slice path, rest;

    if (!session->has_sender) {
        reply(session, "503 5.5.1 MAIL first");
    } else if (!smtp_path_read(argument, SLICE("TO:"), &path, &rest) || path.size == 0) {
        reply(session, "501 5.5.4 RCPT TO:<address>");
    } else if (!parameters_known(session, rest, known, COUNT_OF(known))) {
        reply(session, "555 5.5.4 parameter not offered");
    } else if (options->reject_percent > 0 && is_chosen(session, options->reject_percent)) {
        session->rejected_count++;
        buf_printf(&session->output, "%d %d.1.1 this one is refused, as the sink was told\r\n",
                   options->reject_code, options->reject_code / 100);
    } else {
        buf_append(&message->recipients, path);
        buf_append_byte(&message->recipients, '\0');
        message->recipient_count++;
        reply(session, "250 2.1.5 ok");
    }
}

static void on_data(struct sink_session *session, struct slice argument)
{
    (void)argument; /* nothing may stand there, nothing depends on it */
    if (!session->has_sender || session->message.recipient_count == 0) {
        reply(session,
              session->has_sender ? "554 5.5.1 no valid recipients" : "503 5.5.1 MAIL first");
        return;
    }
    session->message.is_stuffed = true;
    memcpy(session->tail, "\0\0\r\n", 4); /* a dot as the first line ends an empty message */
    session->state = SINK_STATE_DATA;
    reply(session, "354 go on, end with a dot");
}

static void on_bdat(struct sink_session *session, struct slice argument)
{
    struct slice size = slice_cut(&argument, ' ');
    uint64_t octets;

    if (!offers(session, SMTP_CHUNKING)) {
        reply(session, "502 5.5.1 not offered");
        return;
    }
    if (!slice_to_u64(size, &octets)) {
        reply(session, "501 5.5.4 BDAT octets [LAST]");
        session->want = SINK_CLOSE; /* what follows can't be told from commands */
        return;
    }
    session->chunk_left = octets;
    session->is_last_chunk = slice_equals_nocase(slice_trim(argument), SLICE("LAST"));
    session->is_chunk_ignored = !session->has_sender || session->message.recipient_count == 0;
    session->state = SINK_STATE_CHUNK;
    if (octets == 0)
        chunk_complete(session);
}

static void on_rset(struct sink_session *session, struct slice argument)
{
    (void)argument; /* as for DATA */
    message_reset(session);
    reply(session, "250 2.0.0 ok");
}

static void on_noop(struct sink_session *session, struct slice argument)
{
    (void)argument; /* RFC 5321 4.1.1.9: ignored */
    reply(session, "250 2.0.0 ok");
}

static void on_vrfy(struct sink_session *session, struct slice argument)
{
    (void)argument; /* any name is as good as another */
    reply(session, "252 2.1.5 everybody is taken here");
}

static void on_starttls(struct sink_session *session, struct slice argument)
{
    (void)argument; /* RFC 3207 4: none is allowed, none harms */
    if (!offers(session, SMTP_STARTTLS) || session->is_secured) {
        reply(session, "502 5.5.1 not offered");
        return;
    }
    reply(session, "220 2.0.0 go on");
    session->want = SINK_TLS;
}

static void on_quit(struct sink_session *session, struct slice argument)
{
    (void)argument; /* as for DATA */
    reply(session, "221 2.0.0 bye");
    session->want = SINK_CLOSE;
}

/* Whether the script has dealt with the command; a success of its own words stands in for the usual one. */
static bool play_script(struct sink_session *session, int stage, sink_command_fn *fn, struct slice argument)
{
    sink_script_fn *script = session->options->script;
    const char *text = script && stage >= 0 ? script(session->script_arg, (enum sink_stage)stage, argument) : NULL;
    if (!text)
        return false;
    size_t before = session->output.size;
    if (*text == '2' || *text == '3') {
        fn(session, argument);
        if (session->output.size < before + 1 || session->output.data[before] != *text)
            return true; /* out of order, and told so */
        session->output.size = before;
    }
    if (*text)
        sink_say(session, text);
    if (!*text || strncmp(text, "421", 3) == 0)
        session->want = SINK_CLOSE;
    return true;
}

static void command_do(struct sink_session *session, struct slice line)
{
    static const struct {
        struct slice word;
        sink_command_fn *fn;
        int stage;
    } commands[] = {
        {{"RCPT", 4}, on_rcpt, SINK_AT_RCPT}, {{"MAIL", 4}, on_mail, SINK_AT_MAIL}, {{"DATA", 4}, on_data, SINK_AT_DATA},
        {{"BDAT", 4}, on_bdat, -1},           {{"EHLO", 4}, on_ehlo, SINK_AT_EHLO}, {{"HELO", 4}, on_helo, SINK_AT_EHLO},
        {{"RSET", 4}, on_rset, -1},           {{"NOOP", 4}, on_noop, -1},           {{"VRFY", 4}, on_vrfy, -1},
        {{"QUIT", 4}, on_quit, -1},           {{"STARTTLS", 8}, on_starttls, -1},
    };
    struct slice rest = line;
    struct slice word = slice_cut(&rest, ' ');

    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        if (slice_equals_nocase(word, commands[i].word)) {
            if (!play_script(session, commands[i].stage, commands[i].fn, rest))
                commands[i].fn(session, rest);
            return;
        }
    }
    reply(session, "500 5.5.2 not known here");
}

static size_t feed_command(struct sink_session *session, struct slice bytes)
{
    const char *end = memchr(bytes.data, '\n', bytes.size);
    size_t size = end ? (size_t)(end - bytes.data) + 1 : bytes.size;
    struct slice line = slice_first(bytes, size);

    if (session->line.size + size > SINK_LINE_SIZE_MAX) {
        reply(session, "500 5.5.2 line too long");
        session->want = SINK_CLOSE;
        return size;
    }
    if (!end || session->line.size > 0) {
        buf_append(&session->line, line);
        line = buf_slice(&session->line);
    }
    if (end) {
        command_do(session, slice_trim(line));
        buf_clear(&session->line);
    }
    return size;
}

struct slice sink_unstuff(struct sink_message *message)
{
    struct buf *content = &message->content;
    size_t to = 0;
    bool is_line_start = true;
    char previous = '\0';

    if (!message->is_stuffed)
        return buf_slice(content);
    for (size_t from = 0; from < content->size; from++) {
        char c = content->data[from];
        if (!(is_line_start && c == '.'))
            content->data[to++] = c;
        is_line_start = c == '\n' && previous == '\r'; /* K2: only CRLF ends a line */
        previous = c;
    }
    content->size = to;
    message->is_stuffed = false;
    return buf_slice(content);
}
