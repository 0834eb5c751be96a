#include "smtp/path.h"

bool smtp_path_read(struct slice argument, struct slice prefix, struct slice *ret_path, struct slice *ret_rest)
{
    if (!slice_starts_nocase(argument, prefix))
        return false;
    struct slice text = slice_trim(slice_from(argument, prefix.size));
    bool is_quoted = false;
    if (text.size == 0 || text.data[0] != '<')
        return false;
    for (size_t i = 1; i < text.size; i++) {
        char c = text.data[i];
        if (is_quoted && c == '\\') {
            i++;
        } else if (c == '"') {
            is_quoted = !is_quoted;
        } else if (c == '>' && !is_quoted) {
            *ret_path = slice_make(text.data + 1, i - 1);
            *ret_rest = slice_from(text, i + 1);
            return ret_rest->size == 0 || ret_rest->data[0] == ' ';
        }
    }
    return false;
}

bool smtp_path_read_bare(struct slice argument, struct slice prefix, struct slice *ret_path, struct slice *ret_rest)
{
    if (!slice_starts_nocase(argument, prefix))
        return false;
    struct slice text = slice_trim(slice_from(argument, prefix.size));
    if (text.size == 0 || text.data[0] == '<')
        return smtp_path_read(argument, prefix, ret_path, ret_rest);
    *ret_path = slice_cut(&text, ' ');
    *ret_rest = text;
    return true;
}

bool smtp_parameter_next(struct slice *rest, struct slice *ret_name, struct slice *ret_value)
{
    *rest = slice_trim(*rest);
    if (rest->size == 0)
        return false;
    struct slice word = slice_cut(rest, ' ');
    bool has_value = slice_find_byte(word, '=') >= 0;
    *ret_name = slice_cut(&word, '=');
    *ret_value = has_value ? word : SLICE_NONE;
    return true;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool smtp_is_xtext(struct slice text)
{
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c <= 0x20 || c >= 0x7f || c == '=')
            return false;
        if (c != '+')
            continue;
        int high = i + 2 < text.size ? hex_digit(text.data[i + 1]) : -1;
        int low = i + 2 < text.size ? hex_digit(text.data[i + 2]) : -1;
        if (high < 2 || low < 0 || (high == 7 && low == 15))
            return false;
        i += 2;
    }
    return text.size > 0;
}
