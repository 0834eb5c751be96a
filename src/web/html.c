#include "web/html.h"

#include <stdlib.h>

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static size_t skip_space(struct slice text, size_t at)
{
    while (at < text.size && is_space(text.data[at]))
        at++;
    return at;
}

/* ---- attributes ---- */

static size_t read_value(struct slice text, size_t at, struct slice *ret_value)
{
    size_t start = at;
    char quote = text.data[at];
    if (quote == '"' || quote == '\'') {
        start = ++at;
        while (at < text.size && text.data[at] != quote)
            at++;
        *ret_value = slice_make(text.data + start, at - start);
        return at < text.size ? at + 1 : at;
    }
    while (at < text.size && !is_space(text.data[at]))
        at++;
    *ret_value = slice_make(text.data + start, at - start);
    return at;
}

static size_t read_attribute(struct slice text, size_t at, struct html_attribute *ret_attribute)
{
    size_t start = at;
    while (at < text.size && !is_space(text.data[at]) && (text.data[at] != '=' || at == start))
        at++;
    ret_attribute->name = slice_make(text.data + start, at - start);
    ret_attribute->value = SLICE_NONE;
    size_t next = skip_space(text, at);
    if (next >= text.size || text.data[next] != '=')
        return at;
    next = skip_space(text, next + 1);
    if (next >= text.size) {
        ret_attribute->value = SLICE("");
        return next;
    }
    return read_value(text, next, &ret_attribute->value);
}

struct html_attribute *html_attributes(struct arena *arena, struct slice text, size_t *ret_count)
{
    struct html_attribute *list = NULL;
    size_t count = 0, capacity = 0, at = skip_space(text, 0);
    while (at < text.size && count < HTML_ATTRIBUTES_MAX) {
        if (count == capacity) {
            capacity = capacity ? 2 * capacity : 8;
            list = arena_grow(arena, list, count, capacity, sizeof *list);
        }
        if (text.data[at] == '/')
            at++;
        else
            at = read_attribute(text, at, &list[count++]);
        at = skip_space(text, at);
    }
    *ret_count = count;
    return list;
}

struct slice html_attribute(const struct html_attribute *attributes, size_t count, struct slice name)
{
    for (size_t i = 0; i < count; i++)
        if (slice_equals_nocase(attributes[i].name, name))
            return slice_is_absent(attributes[i].value) ? SLICE("") : attributes[i].value;
    return SLICE_NONE;
}

/* ---- tokens ---- */

/* The offset behind the ">" that ends the tag at `at`; quotes only count behind "=". */
static size_t tag_end(struct slice page, size_t at)
{
    char quote = 0, last = 0;
    for (; at < page.size; at++) {
        char c = page.data[at];
        if (quote) {
            if (c == quote)
                quote = 0;
        } else if (c == '>') {
            return at + 1;
        } else if ((c == '"' || c == '\'') && last == '=') {
            quote = c;
        }
        if (!is_space(c))
            last = c;
    }
    return page.size;
}

static bool is_raw_text(struct slice name)
{
    return slice_equals_nocase(name, SLICE("script")) || slice_equals_nocase(name, SLICE("style"))
           || slice_equals_nocase(name, SLICE("textarea")) || slice_equals_nocase(name, SLICE("title"));
}

static size_t raw_text_end(const struct html_cursor *cursor)
{
    struct slice page = cursor->page;
    for (size_t at = cursor->offset; at + 2 + cursor->raw_name.size <= page.size; at++) {
        const char *found = memchr(page.data + at, '<', page.size - at);
        if (!found)
            break;
        at = (size_t)(found - page.data);
        struct slice rest = slice_from(page, at);
        if (rest.size > 1 && rest.data[1] == '/' && slice_starts_nocase(slice_from(rest, 2), cursor->raw_name))
            return at;
    }
    return page.size;
}

static size_t comment_end(struct slice page, size_t at, struct slice *ret_text)
{
    ptrdiff_t end = slice_find(slice_from(page, at + 4), SLICE("-->"));
    size_t size = end < 0 ? page.size - at - 4 : (size_t)end;
    *ret_text = slice_make(page.data + at + 4, size);
    return end < 0 ? page.size : at + 4 + size + 3;
}

static size_t read_tag(struct arena *arena, struct html_cursor *cursor, struct html_token *token)
{
    struct slice page = cursor->page;
    size_t at = cursor->offset + 1;
    token->kind = page.data[at] == '/' ? HTML_CLOSE : HTML_OPEN;
    if (token->kind == HTML_CLOSE)
        at++;
    size_t start = at, end = tag_end(page, at);
    while (at < end && !is_space(page.data[at]) && page.data[at] != '>' && page.data[at] != '/')
        at++;
    token->name = slice_make(page.data + start, at - start);
    size_t inner = end > at && page.data[end - 1] == '>' ? end - 1 : end;
    if (token->kind == HTML_OPEN) {
        token->attributes = html_attributes(arena, slice_make(page.data + at, inner - at), &token->attribute_count);
        if (is_raw_text(token->name))
            cursor->raw_name = token->name;
    }
    return end;
}

static bool begins_tag(struct slice rest)
{
    return rest.size > 1
           && (is_letter(rest.data[1]) || (rest.data[1] == '/' && rest.size > 2 && is_letter(rest.data[2])));
}

static size_t text_end(struct slice page, size_t at)
{
    for (at++; at < page.size; at++) {
        struct slice rest = slice_from(page, at);
        if (page.data[at] == '<' && (begins_tag(rest) || slice_starts(rest, SLICE("<!--"))))
            break;
    }
    return at;
}

void html_next(struct arena *arena, struct html_cursor *cursor, struct html_token *ret_token)
{
    struct slice page = cursor->page;
    size_t start = cursor->offset, end;
    *ret_token = (struct html_token){.kind = HTML_END};
    if (start >= page.size)
        return;
    struct slice rest = slice_from(page, start);
    if (!slice_is_absent(cursor->raw_name) && raw_text_end(cursor) > start) {
        ret_token->kind = HTML_TEXT;
        end = raw_text_end(cursor);
        cursor->raw_name = SLICE_NONE;
    } else if (slice_starts(rest, SLICE("<!--"))) {
        ret_token->kind = HTML_COMMENT;
        end = comment_end(page, start, &ret_token->text);
    } else if (rest.data[0] == '<' && begins_tag(rest)) {
        cursor->raw_name = SLICE_NONE;
        end = read_tag(arena, cursor, ret_token);
    } else {
        ret_token->kind = HTML_TEXT;
        end = text_end(page, start);
    }
    ret_token->raw = slice_make(page.data + start, end - start);
    cursor->offset = end;
}

/* ---- entities ---- */

static const struct { const char *name; unsigned code; } entities[] = {
    {"amp", '&'},     {"lt", '<'},      {"gt", '>'},      {"quot", '"'},    {"apos", '\''},   {"nbsp", 160},
    {"copy", 169},    {"reg", 174},     {"trade", 8482},  {"euro", 8364},   {"pound", 163},   {"yen", 165},
    {"sect", 167},    {"deg", 176},     {"middot", 183},  {"laquo", 171},   {"raquo", 187},   {"ndash", 8211},
    {"mdash", 8212},  {"lsquo", 8216},  {"rsquo", 8217},  {"ldquo", 8220},  {"rdquo", 8221},  {"bull", 8226},
    {"hellip", 8230}, {"Agrave", 192},  {"Aacute", 193},  {"Acirc", 194},   {"Atilde", 195},  {"Auml", 196},
    {"Aring", 197},   {"AElig", 198},   {"Ccedil", 199},  {"Egrave", 200},  {"Eacute", 201},  {"Ecirc", 202},
    {"Euml", 203},    {"Igrave", 204},  {"Iacute", 205},  {"Icirc", 206},   {"Iuml", 207},    {"Ntilde", 209},
    {"Ograve", 210},  {"Oacute", 211},  {"Ocirc", 212},   {"Otilde", 213},  {"Ouml", 214},    {"Oslash", 216},
    {"Ugrave", 217},  {"Uacute", 218},  {"Ucirc", 219},   {"Uuml", 220},    {"szlig", 223},   {"agrave", 224},
    {"aacute", 225},  {"acirc", 226},   {"atilde", 227},  {"auml", 228},    {"aring", 229},   {"aelig", 230},
    {"ccedil", 231},  {"egrave", 232},  {"eacute", 233},  {"ecirc", 234},   {"euml", 235},    {"igrave", 236},
    {"iacute", 237},  {"icirc", 238},   {"iuml", 239},    {"ntilde", 241},  {"ograve", 242},  {"oacute", 243},
    {"ocirc", 244},   {"otilde", 245},  {"ouml", 246},    {"oslash", 248},  {"ugrave", 249},  {"uacute", 250},
    {"ucirc", 251},   {"uuml", 252},    {"iexcl", 161},   {"iquest", 191},
};

static void put_utf8(struct buf *out, unsigned code)
{
    if (code < 0x80) {
        buf_append_byte(out, (char)code);
        return;
    }
    if (code < 0x800) {
        buf_append_byte(out, (char)(0xC0 | code >> 6));
    } else {
        if (code < 0x10000) {
            buf_append_byte(out, (char)(0xE0 | code >> 12));
        } else {
            buf_append_byte(out, (char)(0xF0 | code >> 18));
            buf_append_byte(out, (char)(0x80 | (code >> 12 & 0x3F)));
        }
        buf_append_byte(out, (char)(0x80 | (code >> 6 & 0x3F)));
    }
    buf_append_byte(out, (char)(0x80 | (code & 0x3F)));
}

static bool number_code(struct slice digits, unsigned *ret_code)
{
    unsigned base = 10, code = 0;
    if (digits.size && (digits.data[0] | 0x20) == 'x') {
        base = 16;
        digits = slice_from(digits, 1);
    }
    if (digits.size == 0 || digits.size > 7)
        return false;
    for (size_t i = 0; i < digits.size; i++) {
        char c = digits.data[i];
        unsigned digit = c >= '0' && c <= '9' ? (unsigned)(c - '0')
                         : is_letter(c)       ? (unsigned)((c | 0x20) - 'a' + 10) : 99;
        if (digit >= base)
            return false;
        code = code * base + digit;
    }
    *ret_code = code;
    return code >= 0x20 && code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF);
}

/* `name` stands between "&" and ";". */
static bool entity_code(struct slice name, bool with_names, unsigned *ret_code)
{
    if (name.size && name.data[0] == '#')
        return number_code(slice_from(name, 1), ret_code);
    for (size_t i = 0; with_names && i < COUNT_OF(entities); i++)
        if (slice_equals(name, slice_of(entities[i].name))) {
            *ret_code = entities[i].code;
            return true;
        }
    return false;
}

static struct slice decode(struct arena *arena, struct slice text, bool with_names)
{
    struct buf out = {0};
    if (slice_find_byte(text, '&') < 0)
        return text;
    for (size_t i = 0; i < text.size; i++) {
        unsigned code;
        size_t end = i + 1;
        while (text.data[i] == '&' && end < text.size && end - i < 12 && text.data[end] != ';' && text.data[end] != '&')
            end++;
        if (text.data[i] == '&' && end < text.size && text.data[end] == ';'
            && entity_code(slice_make(text.data + i + 1, end - i - 1), with_names, &code)) {
            put_utf8(&out, code);
            i = end;
        } else {
            buf_append_byte(&out, text.data[i]);
        }
    }
    struct slice result = arena_copy(arena, buf_slice(&out));
    buf_finish(&out);
    return result;
}

struct slice html_decode(struct arena *arena, struct slice text)
{
    return decode(arena, text, true);
}

struct slice html_decode_numbers(struct arena *arena, struct slice text)
{
    return decode(arena, text, false);
}

void html_escape(struct buf *out, struct slice text)
{
    for (size_t i = 0; i < text.size; i++) {
        switch (text.data[i]) {
        case '<': buf_append_text(out, "&lt;"); break;
        case '>': buf_append_text(out, "&gt;"); break;
        case '&': buf_append_text(out, "&amp;"); break;
        case '"': buf_append_text(out, "&quot;"); break;
        case '\'': buf_append_text(out, "&#39;"); break;
        default: buf_append_byte(out, text.data[i]);
        }
    }
}
