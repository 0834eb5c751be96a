#include "web/check.h"

#include "base/utf8.h"

#include <stdlib.h>

static size_t count_characters(struct slice text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.size; count++) {
        size_t size = utf8_sequence(slice_from(text, i));
        i += size ? size : 1;
    }
    return count;
}

static void tell(struct buf *faults, const char *before, const struct page_check *check, const char *after)
{
    buf_printf(faults, "%s\"%.*s\"%s\n", before, SLICE_FMT(check->display), after);
}

static void tell_number(struct buf *faults, const char *how, int64_t number, const struct page_check *check)
{
    buf_printf(faults, "Please enter at %s %lld characters in the \"%.*s\" field.\n", how, (long long)number,
               SLICE_FMT(check->display));
}

static bool check_size(const struct page_check *check, struct slice value, struct buf *faults)
{
    int64_t count = (int64_t)count_characters(value);
    if (check->size_min >= 0 && count < check->size_min) {
        tell_number(faults, "least", check->size_min, check);
        return false;
    }
    if (check->size_max >= 0 && count > check->size_max) {
        tell_number(faults, "most", check->size_max, check);
        return false;
    }
    return true;
}

/* ---- kinds of characters ---- */

static bool is_allowed(const struct page_check *check, struct slice character)
{
    unsigned char c = (unsigned char)character.data[0];
    if (slice_find(check->others, character) >= 0)
        return true;
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c >= 0x80)
        return check->has_letters;
    if (c >= '0' && c <= '9')
        return check->has_digits;
    return (c == ' ' || c == '\t' || c == '\r' || c == '\n') && check->has_blanks;
}

static void tell_allowed(const struct page_check *check, struct buf *faults)
{
    const struct { bool is_on; const char *name; } kinds[] = {
        {check->has_letters, "letter"}, {check->has_digits, "digit"}, {check->has_blanks, "whitespace"}};
    const char *separator = "Please enter only ";
    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        if (kinds[i].is_on) {
            buf_printf(faults, "%s%s", separator, kinds[i].name);
            separator = ", ";
        }
    if (check->others.size) {
        buf_printf(faults, "%s\"%.*s\"", separator, SLICE_FMT(check->others));
    }
    tell(faults, " characters in the ", check, " field.");
}

static bool check_characters(const struct page_check *check, struct slice value, struct buf *faults)
{
    bool is_limited = check->has_letters || check->has_digits || check->has_blanks || check->others.size;
    for (size_t i = 0; is_limited && i < value.size;) {
        size_t size = utf8_sequence(slice_from(value, i));
        size = size ? size : 1;
        if (!is_allowed(check, slice_make(value.data + i, size))) {
            tell_allowed(check, faults);
            return false;
        }
        i += size;
    }
    return true;
}

/* ---- numbers ---- */

static bool read_number(const struct page_check *check, struct slice value, double *ret_number)
{
    char text[64], *end;
    size_t size = 0, points = 0;
    struct slice marks = check->separators;
    bool has_thousands = marks.size > 0 && (marks.data[0] | 0x20) != 'x';
    char decimal = marks.size > 1 ? marks.data[1] : '.';
    value = slice_trim(value);
    if (value.size == 0 || value.size >= sizeof text)
        return false;
    for (size_t i = 0; i < value.size; i++) {
        char c = value.data[i];
        if (has_thousands && c == marks.data[0] && i > 0)
            continue;
        if (c == decimal && check->type == CHECK_NUMBER && points++ == 0)
            text[size++] = '.';
        else if ((c >= '0' && c <= '9') || ((c == '-' || c == '+') && i == 0))
            text[size++] = c;
        else
            return false;
    }
    text[size] = '\0';
    *ret_number = strtod(text, &end);
    return end != text && *end == '\0';
}

static int compare(const struct page_check *check, struct slice value, struct slice limit, bool *ret_is_known)
{
    double a, b;
    *ret_is_known = true;
    if (check->type == CHECK_INTEGER || check->type == CHECK_NUMBER) {
        *ret_is_known = read_number(check, value, &a) && read_number(check, limit, &b);
        return !*ret_is_known ? 0 : a < b ? -1 : a > b;
    }
    size_t size = value.size < limit.size ? value.size : limit.size;
    int order = size ? memcmp(value.data, limit.data, size) : 0;
    return order ? order : (value.size > limit.size) - (value.size < limit.size);
}

static bool check_constraint(const struct page_check *check, size_t i, struct slice value, struct buf *faults)
{
    static const struct { const char *name; bool less, equal, more; const char *words; } relations[] = {
        {"Less than", true, false, false, "less than"},
        {"Greater than", false, false, true, "greater than"},
        {"Less than or equal to", true, true, false, "less than or equal to"},
        {"Greater than or equal to", false, true, true, "greater than or equal to"},
        {"Equal to", false, true, false, "equal to"},
        {"Not equal to", true, false, true, "not equal to"},
    };
    struct slice relation = slice_trim(check->constraints[i].relation), limit = check->constraints[i].value;
    bool is_known;
    int order = compare(check, value, limit, &is_known);
    if (slice_is_absent(limit) || !is_known)
        return true;
    for (size_t k = 0; k < COUNT_OF(relations); k++) {
        if (!slice_equals_nocase(relation, slice_of(relations[k].name)))
            continue;
        if (order < 0 ? relations[k].less : order > 0 ? relations[k].more : relations[k].equal)
            return true;
        buf_printf(faults, "Please enter a value %s \"%.*s\" in the \"%.*s\" field.\n", relations[k].words,
                   SLICE_FMT(limit), SLICE_FMT(check->display));
        return false;
    }
    return true;
}

/* ---- all rules ---- */

static bool check_required(const struct page_field *field, struct slice value, struct buf *faults)
{
    const struct page_check *check = field->check;
    bool is_choice = field->kind == FIELD_RADIO || field->kind == FIELD_SELECT;
    bool is_empty = slice_trim(value).size == 0;
    if (check->is_required && is_empty && is_choice)
        tell(faults, "Please select one of the ", check, " options.");
    else if (check->is_required && is_empty)
        tell(faults, "Please enter a value for the ", check, " field.");
    else if (check->is_first_refused && field->kind == FIELD_SELECT && slice_equals(value, field->first))
        tell(faults, "The first ", check, " option is not a valid selection. Please choose one of the other options.");
    else
        return true;
    return false;
}

bool check_value(const struct page_field *field, struct slice value, struct buf *faults)
{
    const struct page_check *check = field->check;
    double number;
    if (!check)
        return true;
    if (!check_required(field, value, faults))
        return false;
    if (value.size == 0)
        return true;
    bool is_number = check->type == CHECK_INTEGER || check->type == CHECK_NUMBER;
    if (is_number && slice_trim(value).size && !read_number(check, value, &number)) {
        tell(faults, check->type == CHECK_INTEGER ? "Please enter only digit characters in the "
                                                  : "Please enter a valid number in the ", check, " field.");
        return false;
    }
    if (!check_size(check, value, faults) || !check_characters(check, value, faults))
        return false;
    for (size_t i = 0; i < check->constraint_count; i++)
        if (!check_constraint(check, i, value, faults))
            return false;
    return true;
}
