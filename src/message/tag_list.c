#include "message/tag_list.h"

static bool is_name(struct slice text)
{
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!is_letter && (i == 0 || !((c >= '0' && c <= '9') || c == '_')))
            return false;
    }
    return text.size > 0;
}

bool tag_list_parse(struct arena *arena, struct slice text, struct tag_list *ret_list)
{
    struct tag_list list = {arena_alloc(arena, TAG_LIST_MAX * sizeof *list.items), 0};
    while (text.size) {
        struct slice value = slice_cut(&text, ';');
        if (slice_trim(value).size == 0 && slice_trim(text).size == 0)
            break;
        bool has_value = slice_find_byte(value, '=') >= 0;
        struct slice name = slice_trim(slice_cut(&value, '='));
        if (!has_value || !is_name(name) || list.count == TAG_LIST_MAX)
            return false;
        for (size_t i = 0; i < list.count; i++)
            if (slice_equals(list.items[i].name, name))
                return false;
        list.items[list.count++] = (struct tag){name, slice_trim(value)};
    }
    *ret_list = list;
    return list.count > 0;
}

struct slice tag_get(const struct tag_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (slice_equals(list->items[i].name, slice_of(name)))
            return list->items[i].value;
    return SLICE_NONE;
}

struct slice tag_unfold(struct arena *arena, struct slice value)
{
    char *text = arena_alloc(arena, value.size + 1);
    size_t size = 0;
    for (size_t i = 0; i < value.size; i++)
        if (!strchr(" \t\r\n", value.data[i]) || value.data[i] == '\0')
            text[size++] = value.data[i];
    return slice_make(text, size);
}

bool tag_has_word(struct slice list, char separator, const char *word)
{
    while (list.size)
        if (slice_equals_nocase(slice_trim(slice_cut(&list, separator)), slice_of(word)))
            return true;
    return false;
}
