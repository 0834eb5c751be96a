#include "config/postfix.h"

#include "base/buf.h"

enum { DEPTH_MAX = 20, VALUE_SIZE_MAX = 64 * 1024, PARAMETERS_MAX = 10000, NAMES_MAX = 10000 };

static bool is_name_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static struct postfix_parameter *find(const struct postfix *postfix, struct slice name)
{
    for (size_t i = postfix->count; i-- > 0;)
        if (slice_equals(postfix->items[i].name, name))
            return &postfix->items[i];
    return NULL;
}

static bool add(struct arena *arena, struct postfix *postfix, struct slice logical, size_t line, struct error *error)
{
    struct slice value = logical;
    struct slice name = slice_trim(slice_cut(&value, '='));
    for (size_t i = 0; i < name.size; i++)
        if (!is_name_byte(name.data[i]))
            name.size = 0;
    if (name.size == 0 || slice_find_byte(logical, '=') < 0)
        return error_set(error, "line %zu: \"name = value\" was expected", line);
    if (postfix->count >= PARAMETERS_MAX)
        return error_set(error, "line %zu: too many parameters", line);
    if ((postfix->count & (postfix->count - 1)) == 0) /* it is full at each power of two */
        postfix->items = arena_grow(arena, postfix->items, postfix->count, postfix->count ? 2 * postfix->count : 1,
                                    sizeof *postfix->items);
    postfix->items[postfix->count++] = (struct postfix_parameter){name, slice_trim(value), line};
    return true;
}

bool postfix_parse(struct arena *arena, struct slice text, struct postfix *ret_postfix, struct error *error)
{
    struct buf logical = {0};
    size_t number = 0, begun = 0;
    bool is_fine = true;
    *ret_postfix = (struct postfix){0};
    while (is_fine && text.size) {
        struct slice line = slice_cut(&text, '\n'), shown = slice_trim(line);
        number++;
        if (shown.size == 0 || shown.data[0] == '#')
            continue;
        if (slice_find_byte(line, '\0') >= 0) {
            is_fine = error_set(error, "line %zu: a NUL octet: no main.cf", number);
        } else if ((line.data[0] == ' ' || line.data[0] == '\t') && begun) {
            buf_append_byte(&logical, ' ');
            buf_append(&logical, shown);
        } else {
            is_fine = !begun || add(arena, ret_postfix, arena_copy(arena, buf_slice(&logical)), begun, error);
            buf_clear(&logical);
            buf_append(&logical, shown);
            begun = number;
        }
    }
    is_fine = is_fine && (!begun || add(arena, ret_postfix, arena_copy(arena, buf_slice(&logical)), begun, error));
    buf_finish(&logical);
    return is_fine;
}

/* The name behind a "$": cut off `rest`; empty if there is none or a condition. */
static struct slice cut_name(struct slice *rest)
{
    struct slice text = *rest;
    char close = text.size && text.data[0] == '{' ? '}' : text.size && text.data[0] == '(' ? ')' : '\0';
    size_t begin = close ? 1 : 0, end = begin;
    while (end < text.size && is_name_byte(text.data[end]))
        end++;
    if (end == begin || (close && (end == text.size || text.data[end] != close)))
        return SLICE("");
    *rest = slice_from(text, close ? end + 1 : end);
    return slice_make(text.data + begin, end - begin);
}

struct expansion { const struct postfix *postfix; struct buf out; size_t names; /* expanded so far */ };

static void expand(struct expansion *expansion, struct slice text, int depth)
{
    struct buf *out = &expansion->out;
    while (text.size && out->size < VALUE_SIZE_MAX && expansion->names < NAMES_MAX) {
        ptrdiff_t dollar = slice_find_byte(text, '$');
        if (dollar < 0 || depth >= DEPTH_MAX) {
            buf_append(out, text);
            return;
        }
        buf_append(out, slice_first(text, (size_t)dollar));
        text = slice_from(text, (size_t)dollar + 1);
        if (text.size && text.data[0] == '$') {
            buf_append_byte(out, '$');
            text = slice_from(text, 1);
            continue;
        }
        struct slice name = cut_name(&text);
        const struct postfix_parameter *parameter = name.size ? find(expansion->postfix, name) : NULL;
        expansion->names++;
        if (name.size == 0)
            buf_append_byte(out, '$');
        else if (parameter)
            expand(expansion, parameter->value, depth + 1);
    }
}

struct slice postfix_value(struct arena *arena, const struct postfix *postfix, struct slice name)
{
    const struct postfix_parameter *parameter = find(postfix, name);
    struct expansion expansion = {.postfix = postfix};
    if (!parameter)
        return SLICE_NONE;
    expand(&expansion, parameter->value, 0);
    struct slice value = slice_trim(arena_copy(arena, buf_slice(&expansion.out)));
    buf_finish(&expansion.out);
    return value.data ? value : SLICE("");
}
