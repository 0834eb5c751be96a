#include "store/filter.h"

#include <stddef.h>

static const char *const state_names[] = {
    [STATE_QUEUED] = "queued",   [STATE_DELIVERED] = "delivered", [STATE_BOUNCED] = "bounced",
    [STATE_EXPIRED] = "expired", [STATE_REMOVED] = "removed",     [STATE_HELD] = "held",
};

static const char *const verb_names[] = {
    [VERB_HOLD] = "hold",     [VERB_RELEASE] = "release", [VERB_RETRY] = "retry",
    [VERB_REMOVE] = "remove", [VERB_REROUTE] = "reroute",
};

/* The fields that need no thought of their own. */
static const struct { const char *key; size_t offset; } text_fields[] = {
    {"sender", offsetof(struct store_filter, sender)},
    {"recipient", offsetof(struct store_filter, recipient)},
    {"domain", offsetof(struct store_filter, domain)},
    {"pickup", offsetof(struct store_filter, pickup_name)},
    {"message_id", offsetof(struct store_filter, message_id)},
    {"status", offsetof(struct store_filter, status)},
};
static const struct { const char *key; size_t offset; } number_fields[] = { /* all of 64 bits */
    {"older_ms", offsetof(struct store_filter, older_than_ms)},
    {"younger_ms", offsetof(struct store_filter, younger_than_ms)},
    {"larger", offsetof(struct store_filter, larger_than)},
    {"limit", offsetof(struct store_filter, limit)},
};
_Static_assert(sizeof(size_t) == sizeof(int64_t),
               "limit is read and written as a number of 64 bits");

static struct slice *text_at(struct store_filter *filter, size_t offset)
{
    return (struct slice *)((char *)filter + offset);
}

static int64_t *number_at(struct store_filter *filter, size_t offset)
{
    return (int64_t *)((char *)filter + offset);
}

const char *state_name(enum store_state state)
{
    return (size_t)state < COUNT_OF(state_names) ? state_names[state] : "unknown";
}

const char *verb_name(enum store_verb verb)
{
    CHECK((size_t)verb < COUNT_OF(verb_names));
    return verb_names[verb];
}

static bool name_find(const char *const names[], size_t count, struct slice name, size_t *ret_index)
{
    for (size_t i = 0; i < count; i++) {
        if (slice_equals(name, slice_of(names[i]))) {
            *ret_index = i;
            return true;
        }
    }
    return false;
}

bool state_parse(struct slice name, int *ret_state)
{
    size_t index;
    if (!name_find(state_names, COUNT_OF(state_names), name, &index))
        return false;
    *ret_state = (int)index;
    return true;
}

bool verb_parse(struct slice name, enum store_verb *ret_verb)
{
    size_t index;
    if (!name_find(verb_names, COUNT_OF(verb_names), name, &index))
        return false;
    *ret_verb = (enum store_verb)index;
    return true;
}

bool filter_is_set(const struct store_filter *filter)
{
    struct store_filter f = *filter;
    for (size_t i = 0; i < COUNT_OF(text_fields); i++)
        if (!slice_is_absent(*text_at(&f, text_fields[i].offset)))
            return true;
    return f.id_count || f.older_than_ms || f.younger_than_ms || f.larger_than || f.state >= 0;
}

static json_t *ids_to_json(const struct store_filter *filter)
{
    json_t *ids = json_array();
    for (size_t i = 0; i < filter->id_count; i++) {
        char text[17];
        store_id_text(filter->ids[i], text);
        json_array_append_new(ids, json_string(text));
    }
    return ids;
}

json_t *filter_to_json(const struct store_filter *filter, struct error *error)
{
    struct store_filter f = *filter;
    json_t *json = json_object();
    if (f.id_count)
        json_object_set_new(json, "ids", ids_to_json(&f));
    for (size_t i = 0; i < COUNT_OF(text_fields); i++) {
        struct slice text = *text_at(&f, text_fields[i].offset);
        if (slice_is_absent(text))
            continue;
        if (json_object_set_new(json, text_fields[i].key, json_stringn(text.data, text.size))
            != 0) {
            json_decref(json);
            (void)error_set(error, "%s: no UTF-8; write * for what can't be typed",
                            text_fields[i].key);
            return NULL;
        }
    }
    for (size_t i = 0; i < COUNT_OF(number_fields); i++) {
        int64_t number = *number_at(&f, number_fields[i].offset);
        if (number != 0)
            json_object_set_new(json, number_fields[i].key, json_integer(number));
    }
    if (f.state >= 0)
        json_object_set_new(json, "state", json_string(state_name((enum store_state)f.state)));
    if (f.is_inverted)
        json_object_set_new(json, "not", json_true());
    return json;
}

static bool ids_from_json(struct arena *arena, const json_t *value, struct store_filter *f,
                          struct error *error)
{
    size_t count = json_array_size(value);
    if (!json_is_array(value) || count == 0 || count > FILTER_IDS_MAX)
        return error_set(error, "filter: \"ids\" is no list of 1 to %d queue ids", FILTER_IDS_MAX);
    uint64_t *ids = arena_alloc(arena, count * sizeof *ids);
    for (size_t i = 0; i < count; i++) {
        const char *text = json_string_value(json_array_get(value, i));
        if (!text || !store_id_parse(slice_of(text), &ids[i]))
            return error_set(error, "filter: \"ids\": %s is no queue id",
                             text ? text : "a value that is no text");
    }
    f->ids = ids;
    f->id_count = count;
    return true;
}

static bool field_from_json(struct arena *arena, const char *key, const json_t *value,
                            struct store_filter *f, struct error *error)
{
    for (size_t i = 0; i < COUNT_OF(text_fields); i++) {
        if (strcmp(key, text_fields[i].key) != 0)
            continue;
        if (!json_is_string(value))
            return error_set(error, "filter: \"%s\" is no text", key);
        *text_at(f, text_fields[i].offset) =
            arena_copy(arena, slice_make(json_string_value(value), json_string_length(value)));
        return true;
    }
    for (size_t i = 0; i < COUNT_OF(number_fields); i++) {
        if (strcmp(key, number_fields[i].key) != 0)
            continue;
        if (!json_is_integer(value) || json_integer_value(value) <= 0)
            return error_set(error, "filter: \"%s\" is no number above 0", key);
        *number_at(f, number_fields[i].offset) = json_integer_value(value);
        return true;
    }
    if (strcmp(key, "after") == 0)
        return (json_is_string(value) && store_id_parse(slice_of(json_string_value(value)), &f->after_id))
               || error_set(error, "filter: \"after\" is no queue id");
    if (strcmp(key, "ids") == 0)
        return ids_from_json(arena, value, f, error);
    if (strcmp(key, "state") == 0)
        return state_parse(slice_of(json_string_value(value)), &f->state)
               || error_set(error, "filter: \"state\" is no state");
    if (strcmp(key, "not") == 0 && json_is_boolean(value)) {
        f->is_inverted = json_is_true(value);
        return true;
    }
    return error_set(error, "filter: \"%s\" is not understood", key);
}

bool filter_from_json(struct arena *arena, const json_t *json, struct store_filter *ret_filter,
                      struct error *error)
{
    struct store_filter filter = FILTER_ALL;
    if (!json_is_object(json))
        return error_set(error, "filter: no JSON object");
    /* jansson's iterators want a json_t that is not const; nothing is changed. */
    json_t *object = (json_t *)(uintptr_t)json;
    for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at))
        if (!field_from_json(arena, json_object_iter_key(at), json_object_iter_value(at), &filter,
                             error))
            return false;
    *ret_filter = filter;
    return true;
}
