#include "config/parse.h"

#include "base/buf.h"
#include "base/hash.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

enum { NAME_SIZE_MAX = 256 };

struct given { /* names met so far */
    char *name;
    UT_hash_handle hh;
};

struct parser {
    struct slice rest;
    size_t line;
    char name[NAME_SIZE_MAX];
    size_t prefix_sizes[CONFIG_DEPTH_MAX];
    size_t depth;
    struct given *given;
    config_setting_fn *fn;
    config_section_fn *section_fn;
    void *arg;
    struct error *error;
};

static bool refuse(struct parser *parser, const char *expected)
{
    return error_set(parser->error, "line %zu: %s was expected", parser->line, expected);
}

static char peek(const struct parser *parser)
{
    return parser->rest.size ? parser->rest.data[0] : '\0';
}

static void advance(struct parser *parser, size_t size)
{
    for (size_t i = 0; i < size; i++)
        parser->line += parser->rest.data[i] == '\n';
    parser->rest = slice_from(parser->rest, size);
}

/* Blanks and comments; line ends too if `over_lines`. */
static void skip(struct parser *parser, bool over_lines)
{
    for (;;) {
        char c = peek(parser);
        if (c == '#' || slice_starts(parser->rest, SLICE("//"))) {
            ptrdiff_t end = slice_find_byte(parser->rest, '\n');
            advance(parser, end < 0 ? parser->rest.size : (size_t)end);
        } else if (parser->rest.size && (c == ' ' || c == '\t' || c == '\r' || (over_lines && c == '\n'))) {
            advance(parser, 1);
        } else {
            return;
        }
    }
}

static bool is_word_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-'
           || c == '.' || c == '*';
}

static bool take_quoted(struct parser *parser, struct buf *out)
{
    advance(parser, 1);
    while (peek(parser) != '"') {
        if (parser->rest.size == 0 || peek(parser) == '\n')
            return refuse(parser, "a closing quotation mark");
        if (peek(parser) == '\\' && parser->rest.size > 1) {
            advance(parser, 1);
            char c = peek(parser);
            buf_append_byte(out, c == 'n' ? '\n' : c == 't' ? '\t' : c);
        } else {
            buf_append_byte(out, peek(parser));
        }
        advance(parser, 1);
    }
    advance(parser, 1);
    return true;
}

/* A key or a section's name, appended to the dotted name. */
static bool take_name(struct parser *parser)
{
    struct buf word = {0};
    bool is_fine = true;
    if (peek(parser) == '"')
        is_fine = take_quoted(parser, &word);
    else
        while (parser->rest.size && is_word_char(peek(parser))) {
            buf_append_byte(&word, peek(parser));
            advance(parser, 1);
        }
    size_t used = strlen(parser->name);
    if (is_fine && word.size == 0)
        is_fine = refuse(parser, "a key");
    else if (is_fine && used + word.size + 2 > sizeof parser->name)
        is_fine = refuse(parser, "a shorter name");
    if (is_fine)
        (void)snprintf(parser->name + used, sizeof parser->name - used, "%s%s", used ? "." : "", buf_text(&word));
    buf_finish(&word);
    return is_fine;
}

static void take_plain(struct parser *parser, const char *ends, struct buf *out)
{
    size_t start = out->size;
    while (parser->rest.size && !strchr(ends, peek(parser)) && peek(parser) != '\0') {
        buf_append_byte(out, peek(parser));
        advance(parser, 1);
    }
    while (out->size > start && (out->data[out->size - 1] == ' ' || out->data[out->size - 1] == '\t'
                                 || out->data[out->size - 1] == '\r'))
        out->size--;
}

static bool take_list(struct parser *parser, struct buf *out)
{
    advance(parser, 1);
    for (;;) {
        skip(parser, true);
        if (peek(parser) == ']') {
            advance(parser, 1);
            return true;
        }
        if (out->size)
            buf_append_byte(out, ',');
        size_t before = out->size;
        if (peek(parser) == '"' ? !take_quoted(parser, out) : (take_plain(parser, ",]#;{}\n", out), out->size == before))
            return refuse(parser, "a value or \"]\"");
        skip(parser, true);
        if (peek(parser) == ',')
            advance(parser, 1);
        else if (peek(parser) != ']')
            return refuse(parser, "\",\" or \"]\"");
    }
}

static bool take_value(struct parser *parser)
{
    struct buf text = {0};
    size_t line = parser->line;
    bool is_fine = true;
    if (peek(parser) == '"')
        is_fine = take_quoted(parser, &text);
    else if (peek(parser) == '[')
        is_fine = take_list(parser, &text);
    else
        take_plain(parser, ",;#{}\n", &text);
    skip(parser, false);
    if (is_fine && (peek(parser) == ';' || peek(parser) == ','))
        advance(parser, 1);
    else if (is_fine && parser->rest.size && peek(parser) != '\n' && peek(parser) != '}')
        is_fine = refuse(parser, "the end of the line or \";\" behind a value");
    if (is_fine) {
        struct given *given;
        HASH_FIND_STR(parser->given, parser->name, given);
        if (!given) {
            given = mem_alloc(sizeof *given);
            given->name = mem_copy_text(parser->name);
            HASH_ADD_KEYPTR(hh, parser->given, given->name, strlen(given->name), given);
            parser->fn(parser->arg, parser->name, line, buf_slice(&text));
        } else {
            parser->fn(parser->arg, parser->name, line, SLICE_NONE);
        }
    }
    buf_finish(&text);
    return is_fine;
}

static bool take_item(struct parser *parser)
{
    size_t before = strlen(parser->name);
    if (!take_name(parser))
        return false;
    skip(parser, false);
    if (peek(parser) == '"' && !take_name(parser)) /* section "name" { */
        return false;
    skip(parser, false);
    if (peek(parser) == '=' || peek(parser) == ':') {
        advance(parser, 1);
        skip(parser, false);
        if (peek(parser) != '{') {
            bool is_fine = take_value(parser);
            parser->name[before] = '\0';
            return is_fine;
        }
    }
    if (peek(parser) != '{')
        return refuse(parser, "\"=\" or \"{\" behind a key");
    if (parser->depth == CONFIG_DEPTH_MAX)
        return refuse(parser, "less nesting");
    if (parser->section_fn)
        parser->section_fn(parser->arg, parser->name, parser->line);
    advance(parser, 1);
    parser->prefix_sizes[parser->depth++] = before;
    return true;
}

static bool parse_all(struct parser *parser)
{
    if (slice_find_byte(parser->rest, '\0') >= 0 || slice_starts(parser->rest, SLICE("\xFF\xFE"))
        || slice_starts(parser->rest, SLICE("\xFE\xFF")))
        return refuse(parser, "UTF-8 text without NULs");
    if (slice_starts(parser->rest, SLICE("\xEF\xBB\xBF")))
        advance(parser, 3);
    skip(parser, true);
    if (peek(parser) == '{') { /* JSON: the whole file is one object */
        advance(parser, 1);
        parser->prefix_sizes[parser->depth++] = 0;
    }
    for (;;) {
        skip(parser, true);
        if (parser->rest.size == 0)
            return parser->depth == 0 || refuse(parser, "\"}\" at the end of a section");
        if (peek(parser) == ';' || peek(parser) == ',') {
            advance(parser, 1);
        } else if (peek(parser) == '}' && parser->depth) {
            parser->name[parser->prefix_sizes[--parser->depth]] = '\0';
            advance(parser, 1);
        } else if (!take_item(parser)) {
            return false;
        }
    }
}

bool config_parse(struct slice text, config_setting_fn *fn, config_section_fn *section_fn, void *arg, struct error *error)
{
    struct parser parser = {.rest = text, .line = 1, .fn = fn, .section_fn = section_fn, .arg = arg, .error = error};
    struct given *given, *next;
    bool is_fine = parse_all(&parser);
    HASH_ITER(hh, parser.given, given, next) {
        HASH_DEL(parser.given, given);
        free(given->name);
        free(given);
    }
    return is_fine;
}
