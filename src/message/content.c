#include "message/content.h"

#include "message/content_private.h"

/* The marks of a writer that stuffs: System.Net.Mail of the .NET Framework puts X-Sender and X-Receiver first, then
 * MIME-Version, and a Date without a day's name (dialect.c tells the first two). */
static bool has_stuffing_marks(const struct header *header, const struct envelope *envelope)
{
    const struct header_field *date = header_find(header, SLICE("Date"), 0);
    struct slice value = date ? slice_trim(date->value) : SLICE_NONE;
    return slice_equals(slice_of(envelope->dialect), SLICE("dotnet")) && value.size && value.data[0] >= '0'
           && value.data[0] <= '9';
}

struct build {
    struct arena *arena;
    struct slice file;
    const struct header *header;
    const struct envelope *envelope;
    const struct content_stamp *stamp;
    struct buf *out;
    struct content_facts *facts;
    struct buf repairs;
    struct error *error;
};

static void note(struct build *build, const char *repair)
{
    if (build->repairs.size)
        buf_append_byte(&build->repairs, ' ');
    buf_append_text(&build->repairs, repair);
}

/* RFC 5322 3.2.2: what is put in a comment can't end it. */
static struct slice comment_text(struct arena *arena, struct slice text)
{
    enum { COMMENT_SIZE_MAX = 200 };
    size_t size = text.size < COMMENT_SIZE_MAX ? text.size : COMMENT_SIZE_MAX;
    char *clean = arena_alloc(arena, size + 1);
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text.data[i];
        clean[i] = c <= 0x20 || c >= 0x7f || strchr("()\\\"", c) ? '_' : (char)c;
    }
    return slice_make(clean, size);
}

static void put_received(struct build *build)
{
    const struct content_stamp *stamp = build->stamp;
    struct slice date = content_date(build->arena, stamp->time_ms, stamp->zone_s);
    struct slice name = comment_text(build->arena, stamp->pickup_name);
    struct slice owner = comment_text(build->arena, stamp->owner);
    buf_printf(build->out, "Received: from localhost (pickup %.*s;\r\n\towner %.*s)\r\n\tby %.*s (mailroot) "
                           "with local id %.*s;\r\n\t%.*s\r\n",
               SLICE_FMT(name), SLICE_FMT(owner), SLICE_FMT(stamp->host), SLICE_FMT(stamp->queue_id),
               SLICE_FMT(date));
}

static bool has_field(const struct build *build, const char *name)
{
    return header_find(build->header, slice_of(name), 0) != NULL;
}

/* Whether the recipients are those of a Resent- block: then nothing of the original's is completed. */
static void put_missing(struct build *build)
{
    const struct content_stamp *stamp = build->stamp;
    const struct header_field *id = header_find(build->header, SLICE("Message-ID"), 0);
    build->facts->message_id = id ? header_unfold(build->arena, id->value) : SLICE("");
    if (build->envelope->accepted == ACCEPTED_RELAY)
        return;
    if (!has_field(build, "Date")) {
        struct slice date = content_date(build->arena, stamp->time_ms, stamp->zone_s);
        buf_printf(build->out, "Date: %.*s\r\n", SLICE_FMT(date));
        note(build, "date");
    }
    if (build->facts->message_id.size == 0) {
        build->facts->message_id = arena_printf(build->arena, "<%.*s@%.*s>", SLICE_FMT(stamp->queue_id),
                                                SLICE_FMT(stamp->host));
        buf_printf(build->out, "Message-ID: %.*s\r\n", SLICE_FMT(build->facts->message_id));
        note(build, "message-id");
    }
    if (build->envelope->accepted)
        return; /* RFC 6409 8: a submission gets no more than these two */
    if (!has_field(build, "From") && build->envelope->sender.text.size) {
        buf_printf(build->out, "From: %.*s\r\n", SLICE_FMT(build->envelope->sender.text));
        note(build, "from");
    }
    if (!has_field(build, "To") && !has_field(build, "Cc")) {
        buf_append(build->out, SLICE("To: undisclosed-recipients:;\r\n"));
        note(build, "to");
    }
}

static bool is_left_out(const struct build *build, const struct header_field *field)
{
    bool is_empty_id = slice_equals_nocase(field->name, SLICE("Message-ID"))
                       && slice_trim(field->value).size == 0;
    bool is_trace = build->envelope->accepted != ACCEPTED_RELAY && envelope_is_trace_field(field->name);
    return is_empty_id || is_trace || envelope_is_private_field(field->name);
}

/* Refolds a line over 998 octets at white space (RFC 5322 2.1.1, 2.2.3). */
static bool put_long_line(struct build *build, struct slice line, size_t number)
{
    bool is_first = true;
    while (line.size > CONTENT_LINE_MAX) {
        size_t cut = CONTENT_LINE_MAX;
        while (cut > 1 && line.data[cut] != ' ' && line.data[cut] != '\t')
            cut--;
        if (cut <= 1 || slice_trim(slice_first(line, cut)).size == 0)
            return error_set(build->error, "line %zu: header line over %d octets without a blank to fold it at",
                             number, CONTENT_LINE_MAX);
        body_put_line(build->out, slice_first(line, cut));
        line = slice_from(line, cut);
        is_first = false;
    }
    if (is_first || slice_trim(line).size)
        body_put_line(build->out, line);
    return true;
}

static bool put_field(struct build *build, const struct header_field *field)
{
    struct slice rest = field->raw;
    size_t number = field->line;
    while (rest.size) {
        struct slice line = slice_cut(&rest, '\n');
        if (line.size && line.data[line.size - 1] == '\r')
            line.size--;
        bool is_fold = number > field->line;
        /* A bare CR in a header would make a line of its own: a blank takes its place. */
        if (slice_find_byte(line, '\r') >= 0) {
            char *clean = arena_text(build->arena, line);
            for (size_t i = 0; i < line.size; i++)
                if (clean[i] == '\r')
                    clean[i] = ' ';
            line.data = clean;
            note(build, "header-cr");
        }
        if (is_fold && slice_trim(line).size == 0) {
            number++;
            continue; /* RFC 5322 2.2.3: no line of blanks alone */
        }
        if (line.size > CONTENT_LINE_MAX)
            note(build, "header-fold");
        if (line.size > CONTENT_LINE_MAX ? !put_long_line(build, line, number)
                                         : (body_put_line(build->out, line), false))
            return false;
        number++;
    }
    return true;
}

/* PowerMTA's orders to itself have no meaning here: the trace says that they were seen and not followed. */
static void note_unheeded(struct build *build)
{
    static const char *const names[] = {"x-virtual-mta", "x-job", "x-schedule"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        bool is_heeded = i == 0 && build->stamp->has_source;
        if (is_heeded || !has_field(build, names[i]))
            continue;
        note(build, names[i]);
        buf_append_text(&build->repairs, "-unheeded");
    }
    if (has_field(build, "traceparent") && slice_is_absent(build->envelope->trace) && build->envelope->accepted != ACCEPTED_RELAY)
        note(build, "traceparent-invalid");
}

static bool put_header(struct build *build)
{
    if (!build->envelope->accepted) /* the listener's line is in the file */
        put_received(build);
    put_missing(build);
    note_unheeded(build);
    for (size_t i = 0; i < build->header->count; i++)
        if (!is_left_out(build, &build->header->fields[i]) && !put_field(build, &build->header->fields[i]))
            return false;
    return true;
}

static enum body_dots decide_dots(struct build *build, const struct body_facts *facts, bool *ret_drop_end)
{
    enum content_dots rule = build->stamp->dots;
    bool is_stuffed = facts->has_double_dot && facts->dots_are_double
                      && has_stuffing_marks(build->header, build->envelope);
    bool must_remove = rule == DOTS_ALWAYS ? facts->has_dot : rule == DOTS_AUTO && is_stuffed;
    *ret_drop_end = rule != DOTS_NEVER && facts->has_end_mark;
    if (*ret_drop_end)
        note(build, "end-dot-dropped");
    if (must_remove)
        note(build, "dots-unstuffed");
    return must_remove ? BODY_DOTS_REMOVE : BODY_DOTS_KEEP;
}

/* The whole message again with its long-lined or NUL-holding leaves re-encoded. */
static bool recode(struct build *build, unsigned what)
{
    struct buf whole = *build->out;
    *build->out = (struct buf){0};
    bool is_done = mime_recode(build->arena, buf_slice(&whole), what, build->out, build->error);
    buf_finish(&whole);
    if (is_done)
        note(build, "mime-recoded");
    return is_done;
}

static bool put_body(struct build *build)
{
    struct slice body = slice_from(build->file, build->header->body_offset);
    struct body_facts facts;
    bool drop_end;

    body_look(body, &facts);
    enum body_dots dots = decide_dots(build, &facts, &drop_end);
    buf_append(build->out, SLICE("\r\n"));
    if (facts.is_canonical && dots == BODY_DOTS_KEEP && !drop_end) {
        buf_append(build->out, body);
    } else {
        body_canonical(body, dots, drop_end, build->out);
        if (!facts.is_canonical)
            note(build, "line-ends");
    }
    if (!facts.has_long_line && !facts.has_nul)
        return true;
    return recode(build, (facts.has_long_line ? RECODE_LONG : 0u) | (facts.has_nul ? RECODE_NUL : 0u));
}

static void look_at_result(struct build *build)
{
    struct slice whole = buf_slice(build->out);
    ptrdiff_t blank = slice_find(whole, SLICE("\r\n\r\n"));
    CHECK(blank > 0);
    struct content_facts *facts = build->facts;
    const struct header_field *subject = header_find(build->header, SLICE("Subject"), 0);
    facts->header_size = (size_t)blank + 4;
    facts->has_8bit_header = slice_has_8bit(slice_first(whole, facts->header_size));
    struct slice body = slice_from(whole, facts->header_size);
    facts->has_8bit_body = slice_has_8bit(body);
    facts->has_leading_dot = slice_starts(body, SLICE(".")) || slice_find(body, SLICE("\r\n.")) >= 0;
    facts->subject = subject ? header_unfold(build->arena, subject->value) : SLICE_NONE;
    facts->repairs = arena_copy(build->arena, buf_slice(&build->repairs));
}

enum content_result content_build(struct arena *arena, struct slice file, const struct header *header,
                                  const struct envelope *envelope, const struct content_stamp *stamp,
                                  struct buf *out, struct content_facts *ret_facts, struct error *error)
{
    struct content_facts facts = {0};
    struct buf mine = {0};
    struct build build = {arena, file, header, envelope, stamp, &mine, &facts, {0}, error};
    enum content_result result = CONTENT_DONE;

    /* RFC 5321 6.3: loop detection by counting Received. */
    if (header_count(header, SLICE("Received")) > stamp->hop_count_max) {
        (void)error_set(error, "too many hops: over %zu Received lines (limits.hops), a mail loop",
                        stamp->hop_count_max);
        return CONTENT_LOOP;
    }
    (void)buf_reserve(&mine, file.size + 1024);
    if (put_header(&build) && put_body(&build)) {
        look_at_result(&build);
        *ret_facts = facts;
        if (out->size == 0) {
            buf_finish(out);
            *out = mine;
            mine = (struct buf){0};
        } else {
            buf_append(out, buf_slice(&mine));
        }
    } else {
        result = CONTENT_BAD;
    }
    buf_finish(&mine);
    buf_finish(&build.repairs);
    return result;
}

bool content_to_7bit(struct arena *arena, struct slice message, struct buf *out, struct error *error)
{
    ptrdiff_t blank = slice_find(message, SLICE("\r\n\r\n"));
    if (blank >= 0 && slice_has_8bit(slice_first(message, (size_t)blank)))
        return error_set(error, "8-bit header: needs a server with SMTPUTF8");
    return mime_recode(arena, message, RECODE_8BIT, out, error);
}

void content_dot_stuff(struct slice message, struct buf *out)
{
    if (slice_starts(message, SLICE(".")))
        buf_append_byte(out, '.');
    for (;;) {
        ptrdiff_t at = slice_find(message, SLICE("\r\n."));
        if (at < 0)
            break;
        buf_append(out, slice_first(message, (size_t)at + 3));
        buf_append_byte(out, '.');
        message = slice_from(message, (size_t)at + 3);
    }
    buf_append(out, message);
    bool has_end = message.size >= 2 && memcmp(message.data + message.size - 2, "\r\n", 2) == 0;
    buf_append(out, has_end ? SLICE(".\r\n") : SLICE("\r\n.\r\n"));
}
