#include "smtpd/server_private.h"

enum { HEADER_LINE_MAX = 998 }; /* RFC 5322 2.1.1 */

static void content_begin(struct server *server)
{
    struct buf bytes = server->content.bytes;
    server->content = (struct server_content){.bytes = bytes, .line = LINE_START};
    server_complete_submission(server);
    server->content.is_held = server->options->is_held
                              && (server->options->is_held_from_all
                                  || server->transaction.submission.origin == SUBMISSION_RELAYED);
}

static void refuse_content(struct server *server, const char *refusal)
{
    if (!server->content.refusal)
        server->content.refusal = refusal;
}

/* ---- one octet of content at a time, dots removed ---- */

/* A header's line is over; the limits that the relay would refuse it for are told while the client still listens. */
static void end_field(struct server *server)
{
    struct server_content *content = &server->content;
    const struct server_options *options = server->options;
    if (content->field_size == 0) {
        content->is_body = true;
        return;
    }
    struct slice name = slice_make(content->field, content->field_size < sizeof content->field ? content->field_size
                                                                                                : sizeof content->field);
    bool is_fold = name.data[0] == ' ' || name.data[0] == '\t';
    content->header_count += !is_fold;
    content->hops += slice_starts_nocase(name, SLICE("Received:"));
    content->field_size = 0;
    content->has_word = false;
    content->unbroken_size = 0;
    if (content->header_size > options->header_size || content->header_count > options->header_count)
        refuse_content(server, "552 5.3.4 header too large");
    if (content->hops > options->hops)
        refuse_content(server, "554 5.4.6 too many hops: a mail loop");
}

/* What intake folds (message/content.h C3) is taken; where there is no blank to fold it at, the client is told. */
static void count_line(struct server *server, char c)
{
    struct server_content *content = &server->content;
    bool is_blank = c == ' ' || c == '\t';
    if (content->field_size < sizeof content->field)
        content->field[content->field_size] = c;
    content->field_size++;
    content->unbroken_size = is_blank && content->has_word ? 1 : content->unbroken_size + 1;
    content->has_word = content->has_word || !is_blank;
    if (content->unbroken_size > HEADER_LINE_MAX)
        refuse_content(server, "554 5.6.0 a header line over 998 octets without a blank to fold it at");
}

static void put(struct server *server, char c)
{
    struct server_content *content = &server->content;
    if (!content->is_body) {
        /* A blank in front of everything would make the first line a part of our Received line. */
        if (content->header_size == 0 && (c == ' ' || c == '\t')) {
            buf_append(&content->bytes, SLICE("\r\n"));
            content->is_body = true;
        }
        content->header_size++;
        if (c == '\n')
            end_field(server);
        else if (c != '\r')
            count_line(server, c);
    }
    buf_append_byte(&content->bytes, c);
    content->size++;
}

/* ---- pieces and the end ---- */

static void count_size(struct server *server)
{
    if (server->content.size > server->options->message_size)
        refuse_content(server, "552 5.3.4 too large");
    if (server->content.refusal)
        buf_clear(&server->content.bytes);
}

static void store_piece(struct server *server)
{
    count_size(server);
    if (server->content.bytes.size < SERVER_PIECE_SIZE || server->content.is_held)
        return;
    server->store.is_last = false;
    server->store.bytes = buf_slice(&server->content.bytes);
    server->content.is_begun = true;
    server->want = SERVER_STORE;
}

/* All is there. What is refused may have begun a file, which an empty last piece and the refusal let go of. */
static void content_end(struct server *server)
{
    count_size(server);
    server->command.octets = server->content.size;
    server->state = STATE_COMMAND;
    server->chunk_left = 0;
    if (server->content.refusal) {
        const char *refusal = server->content.refusal;
        server_forget_message(server);
        server_refuse(server, "%s", refusal);
        return;
    }
    server->store.is_last = true;
    server->store.bytes = buf_slice(&server->content.bytes);
    server->want = SERVER_STORE;
}

/* Whole messages are too large to keep their memory for the next one. */
static void let_go(struct server *server)
{
    if (server->content.is_held)
        buf_finish(&server->content.bytes);
    else
        buf_clear(&server->content.bytes);
}

void server_stored(struct server *server, enum server_stored how, struct slice name)
{
    static const char *const refusals[] = {[STORED_NO_SPACE] = "452 4.3.1 no space left", [STORED_FAILED] = "451 4.3.0 could not be stored"};
    CHECK(server->want == SERVER_STORE);
    server->want = SERVER_READ;
    let_go(server);
    if (!server->store.is_last) {
        if (how != STORED_SAFE)
            refuse_content(server, refusals[how]);
        return;
    }
    server_forget_message(server);
    if (how != STORED_SAFE) {
        server_reply(server, "%s", refusals[how]);
        return;
    }
    server->message_count++;
    if (slice_is_absent(name))
        server_reply(server, "250 2.0.0 taken");
    else
        server_reply(server, "250 2.0.0 taken as %.*s", SLICE_FMT(name));
}

void server_refused(struct server *server, const char *reply)
{
    CHECK(server->want == SERVER_STORE && server->store.is_last);
    server->want = SERVER_READ;
    server_refuse(server, "%s", reply); /* while the note of it still finds the sender */
    let_go(server);
    server_forget_message(server);
}

void server_give_up(struct server *server, const char *reply)
{
    refuse_content(server, reply);
    buf_finish(&server->content.bytes);
}

const struct submission *server_submission(const struct server *server)
{
    return &server->transaction.submission;
}

static size_t bad_octet(struct server *server, struct slice bytes, const char *reply)
{
    server_break(server, reply); /* D2: nothing behind it is looked at */
    return bytes.size;
}

static const char bare_cr[] = "554 5.6.0 a bare CR in the message";
static const char bare_lf[] = "554 5.6.0 a bare LF in the message";
static const char nul[] = "554 5.6.0 a NUL in the message";

/* ---- DATA ---- */

void server_on_data(struct server *server, struct slice argument)
{
    if (slice_trim(argument).size) {
        server_refuse(server, "501 5.5.4 DATA takes nothing");
        return;
    }
    content_begin(server);
    server->state = STATE_DATA;
    server_reply(server, "354 go on, end with a dot");
}

static bool is_behind_cr(const struct server *server)
{
    return server->content.line == LINE_CR || server->content.line == LINE_DOT_CR;
}

/* D10. */
static void put_bare_lf(struct server *server)
{
    put(server, '\r');
    put(server, '\n');
    server->content.line = LINE_START_LF;
}

/* The dot machine of RFC 5321 4.5.2. Which octet of a CRLF is missing, the caller learns from the result. */
static const char *data_octet(struct server *server, char c, bool *ret_is_end)
{
    struct server_content *content = &server->content;
    if (c == '\0')
        return nul;
    if (c == '\n' && !is_behind_cr(server)) {
        if (!server->client.may_bare_lf)
            return bare_lf;
        put_bare_lf(server);
        return NULL;
    }
    if (c != '\n' && is_behind_cr(server))
        return bare_cr;
    switch (content->line) {
    case LINE_START:
    case LINE_START_LF:
        if (c == '.') {
            content->line = content->line == LINE_START ? LINE_DOT : LINE_DOT_LF;
            return NULL;
        }
        break;
    case LINE_DOT:
        if (c == '\r') {
            content->line = LINE_DOT_CR;
            return NULL;
        }
        break;
    case LINE_DOT_CR:
        *ret_is_end = true;
        return NULL;
    case LINE_CR:
        put(server, '\r');
        put(server, '\n');
        content->line = LINE_START;
        return NULL;
    case LINE_MIDDLE:
    case LINE_DOT_LF:
        break;
    }
    content->line = c == '\r' ? LINE_CR : LINE_MIDDLE;
    if (c != '\r')
        put(server, c);
    return NULL;
}

size_t server_feed_data(struct server *server, struct slice bytes)
{
    bool is_end = false;
    for (size_t i = 0; i < bytes.size; i++) {
        const char *fault = data_octet(server, bytes.data[i], &is_end);
        if (fault)
            return bad_octet(server, bytes, fault);
        if (is_end) {
            content_end(server);
            return i + 1;
        }
    }
    store_piece(server);
    return bytes.size;
}

/* ---- BDAT: RFC 3030 ---- */

static void chunk_done(struct server *server)
{
    server->state = STATE_COMMAND;
    if (server->is_last_chunk && server->content.line == LINE_CR)
        server_break(server, bare_cr);
    else if (server->is_last_chunk)
        content_end(server);
    else if (server->content.refusal)
        server_refuse(server, "%s", server->content.refusal);
    else
        server_reply(server, "250 2.0.0 chunk taken");
}

void server_on_bdat(struct server *server, struct slice argument)
{
    struct slice rest = slice_trim(argument);
    struct slice size = slice_cut(&rest, ' ');
    uint64_t octets;
    bool is_last = slice_equals_nocase(rest, SLICE("LAST"));
    if (!slice_to_u64(size, &octets) || (rest.size && !is_last)) {
        server_break(server, "501 5.5.4 BDAT octets [LAST] was expected"); /* what follows can't be told from commands */
        return;
    }
    if (octets > server->options->message_size) {
        server_break(server, "552 5.3.4 too large");
        return;
    }
    if (!(server->phase & (PHASE_RCPT | PHASE_BDAT)))
        refuse_content(server, "503 5.5.1 MAIL and a RCPT that is taken first");
    else if (server->phase == PHASE_RCPT)
        content_begin(server);
    if (server->phase == PHASE_RCPT)
        server->phase = PHASE_BDAT;
    server->chunk_left = octets;
    server->is_last_chunk = is_last;
    server->state = STATE_CHUNK;
    if (octets == 0)
        chunk_done(server);
}

size_t server_feed_chunk(struct server *server, struct slice bytes)
{
    struct server_content *content = &server->content;
    size_t size = bytes.size < server->chunk_left ? bytes.size : (size_t)server->chunk_left;
    for (size_t i = 0; i < size; i++) {
        char c = bytes.data[i];
        bool is_bare_lf = c == '\n' && content->line != LINE_CR;
        const char *fault = c == '\0'                                         ? nul
                            : is_bare_lf && !server->client.may_bare_lf       ? bare_lf
                            : c != '\n' && content->line == LINE_CR           ? bare_cr
                                                                              : NULL;
        if (fault)
            return bad_octet(server, bytes, fault);
        if (is_bare_lf && !content->refusal)
            put(server, '\r');
        content->line = c == '\r' ? LINE_CR : LINE_MIDDLE;
        if (!content->refusal)
            put(server, c);
    }
    server->chunk_left -= size;
    if (server->chunk_left == 0)
        chunk_done(server);
    else
        store_piece(server);
    return size;
}
