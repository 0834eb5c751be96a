#include "cli/queue.h"

#include "base/utf8.h"
#include "os/clock.h"

#include <stdio.h>

static const struct {
    const char *name;
    int64_t ms;
} age_units[] = {
    {"ms", 1},          {"s", 1000},     {"m", 60 * 1000},
    {"h", 3600 * 1000}, {"d", 86400000}, {"w", 7 * 86400000LL},
};
static const struct {
    const char *name;
    uint64_t octets;
} size_units[] = {
    {"", 1},        {"B", 1},        {"K", 1024},    {"KB", 1024},
    {"M", 1 << 20}, {"MB", 1 << 20}, {"G", 1 << 30}, {"GB", 1 << 30},
};

/* C0 and C1 controls: a terminal obeys both. */
static bool is_control(struct slice character)
{
    unsigned char first = (unsigned char)character.data[0];
    if (character.size == 1)
        return first < 0x20 || first == 0x7f;
    return first == 0xc2 && (unsigned char)character.data[1] < 0xa0;
}

void put_clean(struct buf *out, struct slice text)
{
    while (text.size) {
        size_t length = utf8_sequence(text);
        struct slice character = slice_first(text, length ? length : 1);
        if (length == 0 || is_control(character))
            for (size_t i = 0; i < character.size; i++)
                buf_printf(out, "\\x%02x", (unsigned char)character.data[i]);
        else
            buf_append(out, character);
        text = slice_from(text, character.size);
    }
}

void put_size(struct buf *out, uint64_t size)
{
    static const char units[] = "KMGT";
    if (size < 1024) {
        buf_printf(out, "%llu", (unsigned long long)size);
        return;
    }
    double amount = (double)size / 1024;
    size_t unit = 0;
    for (; amount >= 1024 && unit + 2 < sizeof units; unit++)
        amount /= 1024;
    buf_printf(out, amount < 10 ? "%.1f%c" : "%.0f%c", amount, units[unit]);
}

void put_age(struct buf *out, int64_t ms)
{
    int64_t seconds = ms > 0 ? ms / 1000 : 0;
    if (seconds < 60)
        buf_printf(out, "%llds", (long long)seconds);
    else if (seconds < 3600)
        buf_printf(out, "%lldm", (long long)seconds / 60);
    else if (seconds < 86400)
        buf_printf(out, "%lldh%02lldm", (long long)seconds / 3600, (long long)seconds / 60 % 60);
    else
        buf_printf(out, "%lldd%02lldh", (long long)seconds / 86400, (long long)seconds / 3600 % 24);
}

void put_time(struct buf *out, int64_t wall_ms)
{
    char text[25];
    clock_rfc3339(wall_ms, text);
    buf_append_text(out, text);
}

void out_print(struct buf *out)
{
    if (out->size)
        (void)fwrite(out->data, 1, out->size, stdout); /* main() looks at stdout at the end */
    buf_clear(out);
}

/* Digits off the front of *text; false when there are none, or too many. */
static bool cut_number(struct slice *text, uint64_t *ret_number)
{
    size_t digits = 0;
    while (digits < text->size && text->data[digits] >= '0' && text->data[digits] <= '9')
        digits++;
    if (digits == 0 || !slice_to_u64(slice_first(*text, digits), ret_number))
        return false;
    *text = slice_from(*text, digits);
    return true;
}

/* The longest unit at the front of *text. */
static bool cut_age_unit(struct slice *text, int64_t *ret_ms)
{
    size_t longest = 0;
    for (size_t i = 0; i < COUNT_OF(age_units); i++) {
        struct slice name = slice_of(age_units[i].name);
        if (slice_starts(*text, name) && name.size > longest) {
            longest = name.size;
            *ret_ms = age_units[i].ms;
        }
    }
    *text = slice_from(*text, longest);
    return longest > 0;
}

bool age_parse(const char *text, int64_t *ret_ms)
{
    struct slice rest = slice_of(text);
    int64_t total = 0;
    while (rest.size) {
        uint64_t number;
        int64_t unit, part;
        if (!cut_number(&rest, &number) || !cut_age_unit(&rest, &unit)
            || __builtin_mul_overflow(number, unit, &part)
            || __builtin_add_overflow(total, part, &total))
            return false;
    }
    if (total == 0)
        return false;
    *ret_ms = total;
    return true;
}

bool size_parse(const char *text, uint64_t *ret_size)
{
    struct slice unit = slice_of(text);
    uint64_t number, size;
    if (!cut_number(&unit, &number) || number == 0)
        return false;
    for (size_t i = 0; i < COUNT_OF(size_units); i++) {
        if (!slice_equals_nocase(unit, slice_of(size_units[i].name)))
            continue;
        if (__builtin_mul_overflow(number, size_units[i].octets, &size) || size > INT64_MAX)
            return false;
        *ret_size = size;
        return true;
    }
    return false;
}
