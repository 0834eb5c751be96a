#include "web/form_body.h"

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

struct slice form_unescape(struct arena *arena, struct slice text, bool plus)
{
    char *out = arena_alloc(arena, text.size + 1);
    size_t size = 0;
    for (size_t i = 0; i < text.size; i++) {
        bool is_escape = text.data[i] == '%' && i + 2 < text.size && hex(text.data[i + 1]) >= 0 && hex(text.data[i + 2]) >= 0;
        if (is_escape) {
            out[size++] = (char)(hex(text.data[i + 1]) * 16 + hex(text.data[i + 2]));
            i += 2;
        } else {
            out[size++] = plus && text.data[i] == '+' ? ' ' : text.data[i];
        }
    }
    return slice_make(out, size);
}

static enum form_result add(struct arena *arena, struct form_body *body, const struct form_field *field,
                            struct error *error)
{
    if (body->count == FORM_FIELDS_MAX || body->files > FORM_FILES_MAX || field->name.size > FORM_NAME_SIZE_MAX) {
        (void)error_set(error, "more than %d fields or %d files, or a name of over %d octets", FORM_FIELDS_MAX,
                        FORM_FILES_MAX, FORM_NAME_SIZE_MAX);
        return FORM_TOO_MUCH;
    }
    if ((body->count & (body->count - 1)) == 0)
        body->fields = arena_grow(arena, body->fields, body->count, body->count ? 2 * body->count : 1, sizeof *body->fields);
    body->fields[body->count++] = *field;
    return FORM_DONE;
}

static enum form_result read_urlencoded(struct arena *arena, struct slice body, struct form_body *ret_body,
                                        struct error *error)
{
    while (body.size) {
        struct slice pair = slice_cut(&body, '&');
        if (pair.size == 0)
            continue;
        struct slice name = slice_cut(&pair, '=');
        struct form_field field = {form_unescape(arena, name, true), form_unescape(arena, pair, true), SLICE_NONE, SLICE_NONE};
        enum form_result result = add(arena, ret_body, &field, error);
        if (result != FORM_DONE)
            return result;
    }
    return FORM_DONE;
}

/* ---- multipart ---- */

/* The value of key="…" or key=… among the parameters of a header's value; absent if there is none. */
static struct slice parameter(struct slice value, struct slice key)
{
    for (size_t i = 0; i + key.size < value.size; i++) {
        bool is_start = i == 0 || value.data[i - 1] == ';' || value.data[i - 1] == ' ' || value.data[i - 1] == '\t';
        if (!is_start || !slice_starts_nocase(slice_from(value, i), key) || value.data[i + key.size] != '=')
            continue;
        struct slice rest = slice_from(value, i + key.size + 1);
        if (rest.size && rest.data[0] == '"') {
            rest = slice_from(rest, 1);
            return slice_cut(&rest, '"');
        }
        return slice_trim(slice_cut(&rest, ';'));
    }
    return SLICE_NONE;
}

/* B3. Browsers write a quote in a name as %22 and line ends as %0D%0A (RFC 7578 2, WHATWG HTML 4.10.21.8). */
static struct slice base_name(struct arena *arena, struct slice name)
{
    size_t start = 0;
    name = form_unescape(arena, name, false);
    for (size_t i = 0; i < name.size; i++)
        if (name.data[i] == '/' || name.data[i] == '\\' || name.data[i] == ':')
            start = i + 1;
    name = slice_from(name, start);
    return name.size > FORM_NAME_SIZE_MAX ? slice_first(name, FORM_NAME_SIZE_MAX) : name;
}

static bool read_part(struct arena *arena, struct slice part, struct form_field *ret_field)
{
    bool has_name = false;
    *ret_field = (struct form_field){.type = SLICE("")};
    for (;;) {
        ptrdiff_t end = slice_find(part, SLICE("\r\n"));
        if (end < 0)
            return false;
        struct slice line = slice_first(part, (size_t)end);
        part = slice_from(part, (size_t)end + 2);
        if (line.size == 0)
            break;
        struct slice value = line, name = slice_cut(&value, ':');
        if (slice_equals_nocase(name, SLICE("Content-Type")))
            ret_field->type = slice_trim(value);
        if (!slice_equals_nocase(name, SLICE("Content-Disposition")))
            continue;
        struct slice given = parameter(value, SLICE("name")), file = parameter(value, SLICE("filename"));
        has_name = !slice_is_absent(given);
        ret_field->name = form_unescape(arena, given, false);
        if (!slice_is_absent(file))
            ret_field->file_name = base_name(arena, file);
    }
    ret_field->value = part;
    return has_name;
}

static enum form_result malformed(struct error *error, const char *what)
{
    (void)error_set(error, "multipart/form-data: %s", what);
    return FORM_MALFORMED;
}

static enum form_result read_multipart(struct arena *arena, struct slice boundary, struct slice body,
                                       struct form_body *ret_body, struct error *error)
{
    if (boundary.size == 0 || boundary.size > FORM_BOUNDARY_SIZE_MAX)
        return malformed(error, "no boundary, or one that is too long");
    struct slice mark = arena_printf(arena, "\r\n--%.*s", SLICE_FMT(boundary));
    struct slice first = slice_from(mark, 2);
    if (!slice_starts(body, first))
        return malformed(error, "the boundary was expected first");
    body = slice_from(body, first.size);
    for (;;) {
        struct form_field field;
        if (slice_starts(body, SLICE("--")))
            return FORM_DONE;
        ptrdiff_t end = slice_find(body, mark);
        if (!slice_starts(body, SLICE("\r\n")) || end < 0)
            return malformed(error, "the closing boundary is missing");
        struct slice part = end >= 2 ? slice_make(body.data + 2, (size_t)end - 2) : SLICE("");
        if (!read_part(arena, part, &field))
            return malformed(error, "a part without a name");
        bool is_unused_file = !slice_is_absent(field.file_name) && field.file_name.size == 0 && field.value.size == 0;
        if (!slice_is_absent(field.file_name) && !is_unused_file)
            ret_body->files++;
        enum form_result result = add(arena, ret_body, &field, error);
        if (result != FORM_DONE)
            return result;
        body = slice_from(body, (size_t)end + mark.size);
    }
}

enum form_result form_body_read(struct arena *arena, struct slice content_type, struct slice body,
                                struct form_body *ret_body, struct error *error)
{
    struct slice rest = content_type, type = slice_trim(slice_cut(&rest, ';'));
    *ret_body = (struct form_body){0};
    if (slice_equals_nocase(type, SLICE("application/x-www-form-urlencoded")))
        return read_urlencoded(arena, body, ret_body, error);
    if (slice_equals_nocase(type, SLICE("multipart/form-data")))
        return read_multipart(arena, parameter(rest, SLICE("boundary")), body, ret_body, error);
    (void)error_set(error, "a form's Content-Type was expected");
    return FORM_OTHER_TYPE;
}

const struct form_field *form_body_find(const struct form_body *body, struct slice name)
{
    for (size_t i = 0; i < body->count; i++)
        if (slice_equals(body->fields[i].name, name))
            return &body->fields[i];
    return NULL;
}
