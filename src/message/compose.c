#include "message/compose_private.h"

#include "base/utf8.h"
#include "message/content.h"
#include "message/content_private.h"

#include <stdio.h>

enum { BOUNDARY_SIZE = 48 };

struct writer {
    const struct compose *compose;
    struct buf *out;
    struct slice plain;   /* with the uuencoded files behind it */
    bool is_plain_wanted;
    unsigned boundary_seed; /* a different one is tried while a body holds it: C5 */
    char boundaries[4][BOUNDARY_SIZE];
    size_t depth;
};

/* ---- refusals: C3 ---- */

static bool check_value(struct slice value, const char *what, struct error *error)
{
    return compose_is_clean(value)
           || error_set(error, "%s: a control character, or no well-formed UTF-8: not in a header", what);
}

static bool check_list(const struct address_list *list, const char *what, struct error *error)
{
    for (size_t i = 0; list && i < list->count; i++)
        if (!check_value(list->items[i].display, what, error) || !check_value(list->items[i].text, what, error))
            return false;
    return true;
}

static bool is_token(struct slice text)
{
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] <= 0x20 || text.data[i] >= 0x7f || memchr("()<>,;:\\\"[]?=", text.data[i], 13))
            return false;
    return text.size > 0;
}

static bool check_file(const struct compose_file *file, struct error *error)
{
    for (size_t i = 0; i < file->id.size; i++)
        if (file->id.data[i] <= 0x20 || file->id.data[i] >= 0x7f || memchr("<>()\\\"", file->id.data[i], 6))
            return error_set(error, "a content id of plain ASCII without blanks or brackets was expected");
    if (file->id.size > 200)
        return error_set(error, "a content id of at most 200 octets was expected");
    if (!slice_is_absent(file->type) && (file->type.size > 200 || !is_token(file->type)))
        return error_set(error, "a content type as in image/png was expected");
    return check_value(file->name, "file name", error) && check_value(file->location, "ContentLocation", error)
           && check_value(file->base, "ContentBase", error);
}

static bool check(const struct compose *compose, struct error *error)
{
    const struct { const char *name; struct slice text; } texts[] = {
        {"plain text", compose->plain}, {"HTML text", compose->html}, {"calendar", compose->calendar}};
    if (!check_list(compose->from, "From", error) || !check_list(compose->to, "To", error)
        || !check_list(compose->cc, "Cc", error) || !check_value(compose->subject, "Subject", error)
        || !check_value(compose->location, "ContentLocation", error)
        || !check_value(compose->base, "ContentBase", error))
        return false;
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        if (!utf8_is_valid(texts[i].text))
            return error_set(error, "%s: no well-formed UTF-8", texts[i].name);
    for (size_t i = 0; i < compose->field_count; i++) {
        struct slice name = compose->fields[i].name;
        if (!compose_is_field_name(name))
            return error_set(error, "\"%.*s\" is no header field that may be added", SLICE_FMT(name));
        if (!check_value(compose->fields[i].value, "a header field", error))
            return false;
    }
    for (size_t i = 0; i < compose->file_count; i++)
        if (!check_file(&compose->files[i], error))
            return false;
    return slice_is_absent(compose->calendar_method) || is_token(compose->calendar_method)
           || error_set(error, "a calendar method as in REQUEST was expected");
}

/* ---- multiparts ---- */

static void put_parameterless_boundary(struct writer *writer, char ret_text[BOUNDARY_SIZE])
{
    const unsigned char *random = writer->compose->random;
    int size = snprintf(ret_text, BOUNDARY_SIZE, "=_%u%zu", writer->boundary_seed, writer->depth);
    for (size_t i = 0; i < 15; i++)
        size += snprintf(ret_text + size, BOUNDARY_SIZE - (size_t)size, "%02x", random[i]);
}

/* What is common to all boundaries of a message: its random digits. */
static bool is_boundary_in(const struct writer *writer, struct slice bytes)
{
    struct writer probe = {.compose = writer->compose};
    char text[BOUNDARY_SIZE];
    put_parameterless_boundary(&probe, text);
    return slice_find(bytes, slice_of(text + 4)) >= 0;
}

static void open_multipart(struct writer *writer, const char *kind, const char *more)
{
    char *boundary = writer->boundaries[writer->depth];
    CHECK(writer->depth < COUNT_OF(writer->boundaries));
    put_parameterless_boundary(writer, boundary);
    writer->depth++;
    buf_printf(writer->out, "Content-Type: multipart/%s;%s\r\n boundary=\"%s\"\r\n\r\n", kind, more, boundary);
}

static void next_part(struct writer *writer)
{
    buf_printf(writer->out, "\r\n--%s\r\n", writer->boundaries[writer->depth - 1]);
}

static void close_multipart(struct writer *writer)
{
    writer->depth--;
    buf_printf(writer->out, "\r\n--%s--\r\n", writer->boundaries[writer->depth]);
}

/* ---- parts ---- */

static void put_text_part(struct writer *writer, const char *type, struct slice text)
{
    buf_printf(writer->out, "Content-Type: %s; charset=utf-8\r\n", type);
    compose_put_text_body(writer->out, text);
}

static bool may_stand_inside(struct slice message)
{
    struct body_facts facts;
    body_look(message, &facts);
    return facts.is_canonical && !facts.has_nul && !facts.has_long_line && !facts.has_dot && !facts.has_8bit;
}

static void put_file(struct writer *writer, const struct compose_file *file)
{
    struct buf *out = writer->out;
    bool is_message = file->kind == COMPOSE_MESSAGE && may_stand_inside(file->bytes)
                      && !is_boundary_in(writer, file->bytes);
    bool is_inline = file->kind == COMPOSE_INLINE || is_message;
    buf_printf(out, "Content-Type: %s", is_message ? "message/rfc822" : slice_is_absent(file->type) ? compose_type_of(file->name) : "");
    if (!is_message && !slice_is_absent(file->type))
        buf_append(out, file->type);
    if (file->name.size)
        compose_put_legacy_parameter(out, "name", file->name);
    buf_printf(out, "\r\nContent-Disposition: %s", is_inline ? "inline" : "attachment");
    if (file->name.size)
        compose_put_parameter(out, "filename", file->name);
    buf_append_text(out, "\r\n");
    if (file->id.size)
        buf_printf(out, "Content-ID: <%.*s>\r\n", SLICE_FMT(file->id));
    if (file->base.size)
        compose_put_text(out, "Content-Base", file->base);
    if (file->location.size)
        compose_put_text(out, "Content-Location", file->location);
    if (is_message) {
        buf_append_text(out, "Content-Transfer-Encoding: 7bit\r\n\r\n");
        buf_append(out, file->bytes);
    } else {
        compose_put_base64_body(out, file->bytes);
    }
}

static size_t count_files(const struct compose *compose, bool is_inline)
{
    size_t count = 0;
    for (size_t i = 0; i < compose->file_count; i++)
        count += compose->files[i].kind != COMPOSE_UUENCODED && (compose->files[i].kind == COMPOSE_INLINE) == is_inline;
    return count;
}

static void put_files(struct writer *writer, bool is_inline)
{
    for (size_t i = 0; i < writer->compose->file_count; i++) {
        const struct compose_file *file = &writer->compose->files[i];
        if (file->kind == COMPOSE_UUENCODED || (file->kind == COMPOSE_INLINE) != is_inline)
            continue;
        next_part(writer);
        put_file(writer, file);
    }
}

/* The text that inline files belong to, with them: RFC 2387. */
static void put_root(struct writer *writer)
{
    const struct compose *compose = writer->compose;
    bool is_html = !slice_is_absent(compose->html);
    bool is_related = count_files(compose, true) > 0;
    if (is_related) {
        open_multipart(writer, "related", is_html ? " type=\"text/html\";" : " type=\"text/plain\";");
        next_part(writer);
    }
    if (compose->base.size)
        compose_put_text(writer->out, "Content-Base", compose->base);
    if (compose->location.size)
        compose_put_text(writer->out, "Content-Location", compose->location);
    put_text_part(writer, is_html ? "text/html" : "text/plain", is_html ? compose->html : writer->plain);
    if (is_related) {
        put_files(writer, true);
        close_multipart(writer);
    }
}

static void put_calendar(struct writer *writer)
{
    struct slice method = writer->compose->calendar_method;
    buf_printf(writer->out, "Content-Type: text/calendar; method=%.*s; charset=utf-8\r\n",
               SLICE_FMT(slice_is_absent(method) ? SLICE("REQUEST") : method));
    compose_put_text_body(writer->out, writer->compose->calendar);
}

static void put_texts(struct writer *writer)
{
    const struct compose *compose = writer->compose;
    bool has_html = !slice_is_absent(compose->html), has_calendar = !slice_is_absent(compose->calendar);
    bool has_two = (has_html && writer->is_plain_wanted) || has_calendar;
    if (!has_two) {
        put_root(writer);
        return;
    }
    open_multipart(writer, "alternative", "");
    if (has_html && writer->is_plain_wanted) {
        next_part(writer);
        put_text_part(writer, "text/plain", writer->plain);
    }
    next_part(writer);
    put_root(writer);
    if (has_calendar) {
        next_part(writer);
        put_calendar(writer);
    }
    close_multipart(writer);
}

/* ---- the message ---- */

static bool put_field(struct arena *arena, struct buf *out, const struct compose_field *field, struct error *error)
{
    char *name = arena_text(arena, field->name);
    struct address_list list;
    if (!compose_is_address_field(field->name)) {
        compose_put_text(out, name, field->value);
        return true;
    }
    if (!address_list_parse(arena, field->value, 1000, &list, error))
        return false;
    if (list.fault_count || list.count == 0)
        return error_set(error, "%s: %s", name, list.fault_count ? list.faults[0].reason : "an address was expected");
    compose_put_addresses(out, name, &list);
    return true;
}

static bool put_header(struct arena *arena, const struct compose *compose, struct buf *out, struct error *error)
{
    static const struct { const char *importance, *priority; } levels[] = {{"low", "5"}, {"normal", "3"}, {"high", "1"}};
    struct slice domain = compose->from && compose->from->count ? compose->from->items[0].domain : SLICE_NONE;
    struct slice date = content_date(arena, compose->time_ms, 0);
    compose_put_addresses(out, "From", compose->from);
    compose_put_addresses(out, "To", compose->to);
    compose_put_addresses(out, "Cc", compose->cc);
    if (!slice_is_absent(compose->subject))
        compose_put_text(out, "Subject", compose->subject);
    buf_printf(out, "Date: %.*s\r\n", SLICE_FMT(date));
    if (domain.size) {
        buf_append_text(out, "Message-ID: <");
        for (size_t i = 0; i < sizeof compose->random; i++)
            buf_printf(out, "%02x", compose->random[sizeof compose->random - 1 - i]);
        buf_printf(out, "@%.*s>\r\n", SLICE_FMT(domain));
    }
    CHECK(compose->importance >= 0 && compose->importance <= 2);
    if (compose->importance != 1)
        buf_printf(out, "Importance: %s\r\nX-Priority: %s\r\n", levels[compose->importance].importance,
                   levels[compose->importance].priority);
    for (size_t i = 0; i < compose->field_count; i++)
        if (!put_field(arena, out, &compose->fields[i], error))
            return false;
    buf_append_text(out, "MIME-Version: 1.0\r\n");
    return true;
}

static void gather_plain(const struct compose *compose, struct buf *plain)
{
    if (!slice_is_absent(compose->plain))
        buf_append(plain, compose->plain);
    for (size_t i = 0; i < compose->file_count; i++) {
        const struct compose_file *file = &compose->files[i];
        if (file->kind != COMPOSE_UUENCODED)
            continue;
        if (plain->size)
            buf_append_text(plain, "\r\n\r\n");
        compose_uuencode(plain, file->name, file->bytes);
    }
}

bool compose_message(struct arena *arena, const struct compose *compose, struct buf *out, struct error *error)
{
    if (!check(compose, error) || !put_header(arena, compose, out, error))
        return false;
    struct buf plain = {0};
    gather_plain(compose, &plain);
    struct writer writer = {.compose = compose, .out = out, .plain = buf_slice(&plain)};
    writer.is_plain_wanted = plain.size > 0 || !slice_is_absent(compose->plain);
    struct slice texts[] = {writer.plain, compose->html, compose->calendar};
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        if (is_boundary_in(&writer, texts[i]))
            writer.boundary_seed++;
    bool is_mixed = count_files(compose, false) > 0;
    bool is_done = writer.boundary_seed == 0 || error_set(error, "the text holds the boundary: compose again");
    if (is_mixed) {
        open_multipart(&writer, "mixed", "");
        next_part(&writer);
    }
    put_texts(&writer);
    if (is_mixed) {
        put_files(&writer, false);
        close_multipart(&writer);
    }
    buf_finish(&plain);
    return is_done;
}

/* Quoted-printable is 3 octets an octet and a soft line end in 75; headers grow less than eightfold. */
size_t compose_size_max(const struct compose *compose)
{
    size_t size = 4096 + 4 * (compose->plain.size + compose->html.size + compose->calendar.size)
                  + 8 * (compose->subject.size + compose->location.size + compose->base.size);
    const struct address_list *lists[] = {compose->from, compose->to, compose->cc};
    for (size_t i = 0; i < COUNT_OF(lists); i++)
        for (size_t k = 0; lists[i] && k < lists[i]->count; k++)
            size += 64 + 8 * (lists[i]->items[k].display.size + lists[i]->items[k].text.size);
    for (size_t i = 0; i < compose->field_count; i++)
        size += 64 + 8 * (compose->fields[i].value.size + compose->fields[i].name.size);
    for (size_t i = 0; i < compose->file_count; i++) {
        const struct compose_file *file = &compose->files[i];
        size += 1024 + file->bytes.size * 5 / 2 + 16 * (file->name.size + file->location.size + file->base.size);
    }
    return size;
}
