#include "inbound/lookup.h"

static struct slice clean(struct arena *arena, struct slice name)
{
    char *text = arena_text(arena, name);
    for (size_t i = 0; i < name.size; i++)
        if (text[i] >= 'A' && text[i] <= 'Z')
            text[i] = (char)(text[i] + 32);
    if (name.size && text[name.size - 1] == '.')
        name.size--;
    return slice_make(text, name.size);
}

const struct lookup *lookup_get(struct lookups *lookups, struct slice name, int type)
{
    struct slice text = clean(&lookups->arena, name);
    for (size_t i = 0; i < lookups->count; i++) {
        struct lookup *known = lookups->items[i];
        if (known->type == type && slice_equals(known->name, text))
            return known->status == LOOKUP_OPEN ? NULL : known;
    }
    if (lookups->count == LOOKUPS_MAX || lookups->is_over) {
        lookups->failed = (struct lookup){.status = LOOKUP_FAILED};
        return &lookups->failed;
    }
    struct lookup *lookup = arena_alloc(&lookups->arena, sizeof *lookup);
    *lookup = (struct lookup){.name = text, .type = type};
    lookups->items[lookups->count++] = lookup;
    return NULL;
}

void lookup_fill(struct lookups *lookups, struct lookup *lookup, enum lookup_status status, const struct slice *records,
                 size_t count)
{
    lookup->status = status;
    lookup->count = count < LOOKUP_RECORDS_MAX ? count : LOOKUP_RECORDS_MAX;
    lookup->records = arena_alloc(&lookups->arena, (lookup->count + 1) * sizeof *lookup->records);
    for (size_t i = 0; i < lookup->count; i++)
        lookup->records[i] = arena_copy(&lookups->arena, records[i]);
}

void lookups_give_up(struct lookups *lookups)
{
    lookups->is_over = true;
    for (size_t i = 0; i < lookups->count; i++)
        if (lookups->items[i]->status == LOOKUP_OPEN)
            lookups->items[i]->status = LOOKUP_FAILED;
}

bool lookups_are_open(const struct lookups *lookups)
{
    for (size_t i = 0; i < lookups->count; i++)
        if (lookups->items[i]->status == LOOKUP_OPEN)
            return true;
    return false;
}

void lookups_finish(struct lookups *lookups)
{
    arena_finish(&lookups->arena);
    *lookups = (struct lookups){.count = 0};
}
