#include "config/value.h"

#include "base/arena.h"
#include "base/mem.h"
#include "config/config.h"
#include "message/address.h"

#include <stdio.h>
#include <stdlib.h>

#define RATE_SPAN_MAX_MS (366 * 24 * 3600 * 1000LL)
enum { RATE_COUNT_MAX = 100 * 1000 * 1000 };

struct unit { struct slice name; uint64_t factor; };

static bool take_unit(struct slice *text, const struct unit *units, size_t count, uint64_t *ret_value)
{
    size_t digits = 0, letters;
    uint64_t number;
    while (digits < text->size && text->data[digits] >= '0' && text->data[digits] <= '9')
        digits++;
    for (letters = digits; letters < text->size && (text->data[letters] | 0x20) >= 'a'
                           && (text->data[letters] | 0x20) <= 'z';)
        letters++;
    if (!slice_to_u64(slice_first(*text, digits), &number))
        return false;
    struct slice unit = slice_make(text->data + digits, letters - digits);
    *text = slice_from(*text, letters);
    for (size_t i = 0; i < count; i++)
        if (slice_equals_nocase(unit, units[i].name))
            return !__builtin_mul_overflow(number, units[i].factor, ret_value);
    return false;
}

bool value_duration(struct slice text, int64_t *ret_ms)
{
    static const struct unit units[] = {
        {{"ms", 2}, 1}, {{"s", 1}, 1000}, {{"m", 1}, 60000}, {{"h", 1}, 3600000}, {{"d", 1}, 86400000},
    };
    uint64_t total = 0, part;
    if (text.size == 0)
        return false;
    while (text.size)
        if (!take_unit(&text, units, COUNT_OF(units), &part) || __builtin_add_overflow(total, part, &total))
            return false;
    if (total > INT64_MAX)
        return false;
    *ret_ms = (int64_t)total;
    return true;
}

bool value_size(struct slice text, uint64_t *ret_octets)
{
    static const struct unit units[] = {
        {{"", 0}, 1}, {{"B", 1}, 1}, {{"KB", 2}, 1024}, {{"MB", 2}, 1024 * 1024}, {{"GB", 2}, 1024 * 1024 * 1024},
    };
    return text.size && take_unit(&text, units, COUNT_OF(units), ret_octets) && text.size == 0;
}

static bool set_duration(const struct config_key *key, int64_t *ms, struct slice text, struct error *error)
{
    int64_t value;
    if (value_duration(text, &value) && value >= key->least && value <= key->most) {
        *ms = value;
        return true;
    }
    return error_set(error, "\"%.*s\" is no duration; accepted: %lldms to %lldh, as in \"90s\", \"5m\", \"1h30m\"",
                     SLICE_FMT(text), (long long)key->least, (long long)key->most / 3600000);
}

static bool set_size(const struct config_key *key, uint64_t *octets, struct slice text, struct error *error)
{
    uint64_t value;
    if (value_size(text, &value) && value >= (uint64_t)key->least && value <= (uint64_t)key->most) {
        *octets = value;
        return true;
    }
    return error_set(error, "\"%.*s\" is no size; accepted: %lld to %lld octets, as in \"64KB\", \"10MB\"",
                     SLICE_FMT(text), (long long)key->least, (long long)key->most);
}

static bool set_int(const struct config_key *key, int *number, struct slice text, struct error *error)
{
    uint64_t value;
    if (slice_to_u64(text, &value) && value >= (uint64_t)key->least && value <= (uint64_t)key->most) {
        *number = (int)value;
        return true;
    }
    return error_set(error, "\"%.*s\": a number from %lld to %lld was expected", SLICE_FMT(text),
                     (long long)key->least, (long long)key->most);
}

static bool set_bool(bool *flag, struct slice text, struct error *error)
{
    static const struct { struct slice word; bool value; } words[] = {
        {{"true", 4}, true}, {{"yes", 3}, true}, {{"on", 2}, true},
        {{"false", 5}, false}, {{"no", 2}, false}, {{"off", 3}, false},
    };
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (slice_equals_nocase(text, words[i].word)) {
            *flag = words[i].value;
            return true;
        }
    return error_set(error, "\"%.*s\": true or false was expected", SLICE_FMT(text));
}

static bool set_enum(const struct config_key *key, int *number, struct slice text, struct error *error)
{
    char accepted[128] = "";
    for (int i = 0; key->accepted[i]; i++) {
        size_t size = strlen(accepted);
        (void)snprintf(accepted + size, sizeof accepted - size, "%s%s", i ? ", " : "", key->accepted[i]);
        if (slice_equals_nocase(text, slice_of(key->accepted[i]))) {
            *number = i;
            return true;
        }
    }
    return error_set(error, "\"%.*s\"; accepted: %s", SLICE_FMT(text), accepted);
}

static bool set_domain(char **domain, struct slice text, struct error *error)
{
    struct arena arena = {0};
    struct slice clean;
    bool is_fine = address_domain(&arena, text, &clean, error);
    if (is_fine) {
        free(*domain);
        *domain = slice_copy(clean);
    }
    arena_finish(&arena);
    return is_fine;
}

static void list_clear(struct config_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    *list = (struct config_list){0};
}

static bool set_list(struct config_list *list, struct slice text)
{
    list_clear(list);
    while (text.size) {
        struct slice item = slice_trim(slice_cut(&text, ','));
        if (item.size == 0)
            continue;
        list->items = mem_resize(list->items, (list->count + 1) * sizeof *list->items);
        list->items[list->count++] = slice_copy(item);
    }
    return true;
}

static bool set_rates(struct config_rates *rates, struct slice text, struct error *error)
{
    struct config_rates read = {.count = 0};
    for (struct slice rest = text; rest.size;) {
        struct slice span = slice_trim(slice_cut(&rest, ','));
        struct slice count = slice_trim(slice_cut(&span, '/'));
        uint64_t number;
        int64_t span_ms;
        if (count.size == 0 && slice_is_absent(span))
            continue;
        if (read.count == CONFIG_RATES_MAX || !slice_to_u64(count, &number) || number == 0 || number > RATE_COUNT_MAX
            || !value_duration(slice_trim(span), &span_ms) || span_ms <= 0 || span_ms > RATE_SPAN_MAX_MS)
            return error_set(error, "\"%.*s\" is no rate; accepted: messages/duration, up to %d of them, as in \"10/1s, 1000/1h\"",
                             SLICE_FMT(text), (int)CONFIG_RATES_MAX);
        read.items[read.count++] = (struct config_rate){(int)number, span_ms};
    }
    *rates = read;
    return true;
}

static bool set_warmup(struct config_warmup *warmup, struct slice text, struct error *error)
{
    free(warmup->messages);
    *warmup = (struct config_warmup){0};
    for (struct slice rest = text; rest.size;) {
        struct slice item = slice_trim(slice_cut(&rest, ','));
        uint64_t number;
        if (!slice_to_u64(item, &number) || number == 0 || number > RATE_COUNT_MAX)
            return error_set(error, "\"%.*s\": messages of day 1, day 2… were expected, as in \"50, 100, 200\"", SLICE_FMT(text));
        warmup->messages = mem_resize(warmup->messages, (warmup->count + 1) * sizeof *warmup->messages);
        warmup->messages[warmup->count++] = (int)number;
    }
    return true;
}

bool value_set(const struct config_key *key, char *config, struct slice text, struct error *error)
{
    void *field = config + key->offset;
    switch (key->type) {
    case KEY_TEXT:
        free(*(char **)field);
        *(char **)field = slice_copy(text);
        return true;
    case KEY_DOMAIN:
        return set_domain(field, text, error);
    case KEY_INT:
        return set_int(key, field, text, error);
    case KEY_SIZE:
        return set_size(key, field, text, error);
    case KEY_DURATION:
        return set_duration(key, field, text, error);
    case KEY_BOOL:
        return set_bool(field, text, error);
    case KEY_ENUM:
        return set_enum(key, field, text, error);
    case KEY_LIST:
        return set_list(field, text);
    case KEY_RATE:
        return set_rates(field, text, error);
    case KEY_WARMUP:
        return set_warmup(field, text, error);
    }
    return error_set(error, "no such type");
}

bool value_is_name(struct slice name, size_t size_max)
{
    for (size_t i = 0; i < name.size; i++) {
        char c = name.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
            return false;
    }
    return name.size > 0 && name.size <= size_max;
}

void value_clear(const struct config_key *key, char *config)
{
    void *field = config + key->offset;
    if (key->type == KEY_LIST) {
        list_clear(field);
    } else if (key->type == KEY_WARMUP) {
        free(((struct config_warmup *)field)->messages);
        *(struct config_warmup *)field = (struct config_warmup){0};
    } else if (key->type == KEY_TEXT || key->type == KEY_DOMAIN) {
        free(*(char **)field);
        *(char **)field = NULL;
    }
}

size_t value_distance(const char *a, const char *b)
{
    enum { NAME_MAX_COMPARED = 63 };
    size_t row[NAME_MAX_COMPARED + 1];
    size_t width = strnlen(b, NAME_MAX_COMPARED);
    for (size_t k = 0; k <= width; k++)
        row[k] = k;
    for (size_t i = 0; i < NAME_MAX_COMPARED && a[i]; i++) {
        size_t corner = row[0];
        row[0] = i + 1;
        for (size_t k = 1; k <= width; k++) {
            size_t change = corner + (a[i] != b[k - 1]);
            size_t least = row[k] < row[k - 1] ? row[k] + 1 : row[k - 1] + 1;
            corner = row[k];
            row[k] = change < least ? change : least;
        }
    }
    return row[width];
}
