/* A flat walk over a canonical message: headers, leaves and boundary lines in the order they stand, with a stack of the
 * multiparts that are open. Everything but the leaves that need it is copied. */
#include "base/utf8.h"
#include "message/content_private.h"

struct level {
    struct slice boundary;
    bool is_protected; /* inside multipart/signed or multipart/encrypted: RFC 1847 2.1 */
};

struct walk {
    struct arena *arena;
    struct slice message;
    size_t at;
    unsigned what;
    struct buf *out;
    struct level levels[MIME_DEPTH_MAX];
    size_t depth;
    bool is_top;       /* the message's own header comes next */
    struct error *error;
};

struct part { /* what a header says */
    struct slice raw;  /* with the blank line */
    struct header header;
    struct slice type; /* "text/plain" */
    struct slice boundary;
    struct slice encoding;
};

struct end { size_t body_end, line_end; size_t level; bool is_closing, is_found; };

static bool matches(const struct walk *walk, size_t at, struct end *ret_end)
{
    for (size_t i = walk->depth; i > 0; i--) {
        struct slice boundary = walk->levels[i - 1].boundary;
        struct slice rest = slice_from(walk->message, at);
        if (!slice_starts(rest, boundary))
            continue;
        rest = slice_from(rest, boundary.size);
        bool is_closing = slice_starts(rest, SLICE("--"));
        if (is_closing)
            rest = slice_from(rest, 2);
        size_t blanks = 0;
        while (blanks < rest.size && (rest.data[blanks] == ' ' || rest.data[blanks] == '\t'))
            blanks++;
        rest = slice_from(rest, blanks);
        if (rest.size && !slice_starts(rest, SLICE("\r\n")))
            continue;
        ret_end->level = i - 1;
        ret_end->is_closing = is_closing;
        ret_end->line_end = (size_t)(rest.data - walk->message.data) + (rest.size ? 2 : 0);
        return true;
    }
    return false;
}

/* The next boundary line of any open multipart at or behind `from`, which begins a line. */
static struct end find_end(const struct walk *walk, size_t from)
{
    struct end end = {.body_end = walk->message.size, .line_end = walk->message.size};
    size_t at = from;
    while (walk->depth && at < walk->message.size) {
        if (slice_starts(slice_from(walk->message, at), SLICE("--")) && matches(walk, at + 2, &end)) {
            end.is_found = true;
            end.body_end = at;
            return end;
        }
        ptrdiff_t next = slice_find(slice_from(walk->message, at), SLICE("\r\n--"));
        if (next < 0)
            break;
        at += (size_t)next + 2;
    }
    end.body_end = end.line_end = walk->message.size;
    return end;
}

static struct slice parameter(struct arena *arena, struct slice value, struct slice name)
{
    struct slice rest = header_unfold(arena, value);
    (void)slice_cut(&rest, ';');
    while (rest.size) {
        struct slice item = slice_trim(slice_cut(&rest, ';'));
        struct slice text = item;
        struct slice key = slice_trim(slice_cut(&text, '='));
        if (!slice_equals_nocase(key, name))
            continue;
        text = slice_trim(text);
        if (text.size >= 2 && text.data[0] == '"') {
            text = slice_from(text, 1);
            return slice_cut(&text, '"');
        }
        return slice_cut(&text, ' ');
    }
    return SLICE_NONE;
}

static void read_part(struct walk *walk, struct slice raw, struct part *ret_part)
{
    static const struct header_limits limits = {SIZE_MAX / 2, 100000};
    struct part part = {.raw = raw, .type = SLICE("text/plain"), .encoding = SLICE("7bit")};
    struct error ignored;
    if (!header_scan(walk->arena, raw, &limits, &part.header, &ignored))
        part.header = (struct header){0}; /* a part without header is plain text: RFC 2045 5.2 */
    const struct header_field *type = header_find(&part.header, SLICE("Content-Type"), 0);
    const struct header_field *encoding = header_find(&part.header, SLICE("Content-Transfer-Encoding"), 0);
    if (type) {
        struct slice value = header_unfold(walk->arena, type->value);
        part.boundary = parameter(walk->arena, type->value, SLICE("boundary"));
        part.type = slice_trim(slice_cut(&value, ';'));
    }
    if (encoding) {
        struct slice value = header_unfold(walk->arena, encoding->value);
        part.encoding = slice_trim(slice_cut(&value, '('));
    }
    *ret_part = part;
}

static unsigned needs(const struct walk *walk, struct slice bytes)
{
    struct body_facts facts;
    body_look(bytes, &facts);
    return walk->what
           & ((facts.has_long_line ? RECODE_LONG : 0u) | (facts.has_nul ? RECODE_NUL : 0u)
              | (facts.has_8bit ? RECODE_8BIT : 0u));
}

/* Copies bytes that have no transfer encoding of their own to change. */
static bool copy_text(struct walk *walk, struct slice bytes, const char *where)
{
    if (needs(walk, bytes))
        return error_set(walk->error, "%s can't be re-encoded: a line over 998 octets, a NUL or an 8-bit octet",
                         where);
    buf_append(walk->out, bytes);
    return true;
}

static void copy_header(struct walk *walk, const struct part *part, struct slice left_out)
{
    for (size_t i = 0; i < part->header.count; i++)
        if (!slice_equals_nocase(part->header.fields[i].name, left_out))
            buf_append(walk->out, part->header.fields[i].raw);
}

/* The header of a container: what is inside is 7-bit afterwards. */
static void put_container(struct walk *walk, const struct part *part)
{
    bool is_8bit = slice_equals_nocase(part->encoding, SLICE("8bit"))
                   || slice_equals_nocase(part->encoding, SLICE("binary"));
    if (!is_8bit || !(walk->what & RECODE_8BIT)) {
        buf_append(walk->out, part->raw);
        return;
    }
    copy_header(walk, part, SLICE("Content-Transfer-Encoding"));
    buf_append(walk->out, SLICE("Content-Transfer-Encoding: 7bit\r\n\r\n"));
}

static bool is_encoded(const struct part *part)
{
    return slice_equals_nocase(part->encoding, SLICE("base64"))
           || slice_equals_nocase(part->encoding, SLICE("quoted-printable"));
}

static bool refuse_leaf(const struct walk *walk, const struct part *part)
{
    for (size_t i = 0; i < walk->depth; i++)
        if (walk->levels[i].is_protected)
            return error_set(walk->error, "a signed or encrypted part would have to be re-encoded");
    if (slice_equals_nocase(part->type, SLICE("message/partial")))
        return error_set(walk->error, "a message/partial part would have to be re-encoded");
    return true;
}

/* base64 lines can be cut anywhere; a quoted-printable line gets soft line breaks (RFC 2045 6.7). */
static void rewrap(const struct part *part, struct slice body, struct buf *out)
{
    bool is_quoted = slice_equals_nocase(part->encoding, SLICE("quoted-printable"));
    while (body.size) {
        ptrdiff_t end = slice_find(body, SLICE("\r\n"));
        struct slice line = slice_first(body, end < 0 ? body.size : (size_t)end);
        while (line.size > 76) {
            size_t cut = is_quoted ? 72 : 76;
            for (size_t i = 0; is_quoted && i < 2 && line.data[cut - 1 - i] != '='; i++)
                if (i == 1)
                    cut = 72;
            if (is_quoted && line.data[cut - 1] == '=')
                cut -= 1;
            else if (is_quoted && line.data[cut - 2] == '=')
                cut -= 2;
            buf_append(out, slice_first(line, cut));
            buf_append(out, is_quoted ? SLICE("=\r\n") : SLICE("\r\n"));
            line = slice_from(line, cut);
        }
        buf_append(out, line);
        if (end < 0)
            return;
        buf_append(out, SLICE("\r\n"));
        body = slice_from(body, (size_t)end + 2);
    }
}

static bool put_leaf(struct walk *walk, const struct part *part, struct slice body)
{
    bool is_top = walk->is_top;
    unsigned need = needs(walk, body);
    if (!need) {
        buf_append(walk->out, part->raw);
        buf_append(walk->out, body);
        return true;
    }
    if (!refuse_leaf(walk, part))
        return false;
    if (is_encoded(part) && need == RECODE_LONG) {
        buf_append(walk->out, part->raw);
        rewrap(part, body, walk->out);
        return true;
    }
    if (is_encoded(part))
        return error_set(walk->error, "a part that says %.*s holds octets that are none",
                         SLICE_FMT(part->encoding));
    bool is_text = slice_starts_nocase(part->type, SLICE("text/")) && !(need & RECODE_NUL);
    copy_header(walk, part, SLICE("Content-Transfer-Encoding"));
    if (is_top && !header_find(&part->header, SLICE("MIME-Version"), 0))
        buf_append(walk->out, SLICE("MIME-Version: 1.0\r\n"));
    if (is_top && !header_find(&part->header, SLICE("Content-Type"), 0))
        buf_append_text(walk->out, slice_has_8bit(body) && utf8_is_valid(body)
                                       ? "Content-Type: text/plain; charset=utf-8\r\n"
                                       : "Content-Type: text/plain\r\n");
    buf_printf(walk->out, "Content-Transfer-Encoding: %s\r\n\r\n", is_text ? "quoted-printable" : "base64");
    if (is_text)
        encode_quoted_printable(body, walk->out);
    else
        encode_base64(body, walk->out);
    return true;
}

/* Goes on behind a boundary line: pops what it closes; an epilogue is copied. */
static bool pass_boundary(struct walk *walk, struct end end)
{
    for (;;) {
        if (!copy_text(walk, slice_make(walk->message.data + end.body_end, end.line_end - end.body_end),
                       "a boundary line"))
            return false;
        walk->at = end.line_end;
        walk->depth = end.is_closing ? end.level : end.level + 1;
        if (!end.is_found || !end.is_closing)
            return true;
        size_t from = walk->at;
        end = find_end(walk, from);
        if (!copy_text(walk, slice_make(walk->message.data + from, end.body_end - from), "an epilogue"))
            return false;
        if (!end.is_found) {
            walk->at = walk->message.size;
            return true;
        }
    }
}

static bool open_multipart(struct walk *walk, const struct part *part)
{
    bool is_protected = slice_equals_nocase(part->type, SLICE("multipart/signed"))
                        || slice_equals_nocase(part->type, SLICE("multipart/encrypted"));
    put_container(walk, part);
    walk->levels[walk->depth++] = (struct level){part->boundary, is_protected};
    size_t from = walk->at;
    struct end end = find_end(walk, from);
    if (!copy_text(walk, slice_make(walk->message.data + from, end.body_end - from), "a preamble"))
        return false;
    walk->at = end.body_end;
    return pass_boundary(walk, end);
}

/* One header and what belongs to it; the walk stands at the first octet of the header. */
static bool take_part(struct walk *walk)
{
    struct part part;
    struct slice rest = slice_from(walk->message, walk->at);
    struct end end = find_end(walk, walk->at);
    size_t size = end.body_end - walk->at;
    if (slice_starts(rest, SLICE("\r\n"))) {
        size = 2;
    } else {
        ptrdiff_t blank = slice_find(slice_first(rest, size), SLICE("\r\n\r\n"));
        if (blank >= 0)
            size = (size_t)blank + 4;
    }
    if (needs(walk, slice_first(rest, size)))
        return error_set(walk->error, "a part's header holds a line over 998 octets, a NUL or an 8-bit octet");
    read_part(walk, slice_first(rest, size), &part);
    walk->at += size;
    if (slice_starts_nocase(part.type, SLICE("multipart/")) && part.boundary.size
        && walk->depth < MIME_DEPTH_MAX) {
        walk->is_top = false;
        return open_multipart(walk, &part);
    }
    if (slice_equals_nocase(part.type, SLICE("message/rfc822")) && !is_encoded(&part)
        && walk->at < end.body_end) {
        put_container(walk, &part);
        walk->is_top = false;
        return true; /* its header comes next */
    }
    if (!put_leaf(walk, &part, slice_make(walk->message.data + walk->at, end.body_end - walk->at)))
        return false;
    walk->is_top = false;
    walk->at = end.body_end;
    return pass_boundary(walk, end);
}

bool mime_recode(struct arena *arena, struct slice message, unsigned what, struct buf *out,
                 struct error *error)
{
    struct walk *walk = arena_alloc(arena, sizeof *walk);
    *walk = (struct walk){.arena = arena, .message = message, .what = what, .out = out, .is_top = true,
                          .error = error};
    while (walk->at < message.size) {
        size_t before = walk->at;
        if (!take_part(walk))
            return false;
        CHECK(walk->at > before);
    }
    return true;
}
