#include "config/powermta.h"

#include <string.h>

struct parser {
    struct arena *arena;
    struct powermta *powermta;
    size_t capacity;
    struct powermta_block blocks[POWERMTA_DEPTH_MAX];
    size_t depth;
    size_t line;
    struct error *error;
};

static void add(struct parser *parser, struct slice name, struct slice value)
{
    struct powermta *all = parser->powermta;
    if (all->count == parser->capacity) {
        parser->capacity = parser->capacity ? 2 * parser->capacity : 64;
        all->items = arena_grow(parser->arena, all->items, all->count, parser->capacity, sizeof *all->items);
    }
    struct powermta_directive *item = &all->items[all->count++];
    *item = (struct powermta_directive){.name = name, .value = value, .line = parser->line};
    if (parser->depth > 0)
        item->inner = parser->blocks[parser->depth - 1];
    if (parser->depth > 1)
        item->outer = parser->blocks[parser->depth - 2];
}

static struct slice without_comment(struct slice line)
{
    for (size_t i = 0; i < line.size; i++)
        if (line.data[i] == '#' && (i == 0 || line.data[i - 1] == ' ' || line.data[i - 1] == '\t'))
            return slice_trim(slice_first(line, i));
    return slice_trim(line);
}

/* The first word, and what is behind it. */
static struct slice cut_name(struct slice *rest)
{
    size_t end = 0;
    while (end < rest->size && rest->data[end] != ' ' && rest->data[end] != '\t')
        end++;
    struct slice name = slice_first(*rest, end);
    *rest = slice_trim(slice_from(*rest, end));
    return name;
}

static bool end_block(struct parser *parser, struct slice name)
{
    if (parser->depth == 0)
        return error_set(parser->error, "line %zu: </%.*s>: no block was begun", parser->line, SLICE_FMT(name));
    if (!slice_equals_nocase(parser->blocks[parser->depth - 1].name, name))
        return error_set(parser->error, "line %zu: </%.*s> was expected", parser->line,
                         SLICE_FMT(parser->blocks[parser->depth - 1].name));
    parser->depth--;
    return true;
}

static bool begin_block(struct parser *parser, struct slice text)
{
    struct slice name = cut_name(&text);
    if (parser->depth == POWERMTA_DEPTH_MAX)
        return error_set(parser->error, "line %zu: less nesting was expected", parser->line);
    add(parser, name, text);
    parser->blocks[parser->depth++] = (struct powermta_block){name, text};
    return true;
}

static bool parse_line(struct parser *parser, struct slice line)
{
    if (line.size == 0)
        return true;
    if (line.data[0] != '<') {
        struct slice name = cut_name(&line);
        add(parser, name, line);
        return true;
    }
    if (line.size < 3 || line.data[line.size - 1] != '>')
        return error_set(parser->error, "line %zu: \">\" was expected", parser->line);
    struct slice inside = slice_trim(slice_make(line.data + 1, line.size - 2));
    if (inside.size && inside.data[0] == '/')
        return end_block(parser, slice_trim(slice_from(inside, 1)));
    return inside.size ? begin_block(parser, inside)
                       : error_set(parser->error, "line %zu: a block's name was expected", parser->line);
}

bool powermta_parse(struct arena *arena, struct slice text, struct powermta *ret_powermta, struct error *error)
{
    struct parser parser = {.arena = arena, .powermta = ret_powermta, .error = error};
    *ret_powermta = (struct powermta){0};
    if (slice_find_byte(text, '\0') >= 0)
        return error_set(error, "a text without NULs was expected");
    while (text.size) {
        parser.line++;
        if (!parse_line(&parser, without_comment(slice_cut(&text, '\n'))))
            return false;
    }
    return parser.depth == 0 || error_set(error, "line %zu: </%.*s> was expected", parser.line, SLICE_FMT(parser.blocks[parser.depth - 1].name));
}
