/* What a filter changed, put into the message. */
#include "inbound/milter.h"

struct entries { struct slice (*items)[2]; size_t count; }; /* name, whole field */

/* M4 */
static struct slice make_field(struct arena *arena, const struct milter_change *change, bool has_leading_space)
{
    struct buf field = {0};
    buf_printf(&field, "%.*s:%s", SLICE_FMT(change->name), has_leading_space ? "" : " ");
    for (size_t i = 0; i < change->value.size; i++) {
        char c = change->value.data[i];
        if (c == '\r')
            continue;
        if (c != '\n') {
            buf_append_byte(&field, c);
            continue;
        }
        char next = i + 1 < change->value.size ? change->value.data[i + 1] : '\0';
        if (next == '\0')
            continue;
        buf_append_text(&field, next == ' ' || next == '\t' ? "\r\n" : "\r\n\t");
    }
    buf_append_text(&field, "\r\n");
    struct slice copy = arena_copy(arena, buf_slice(&field));
    buf_finish(&field);
    return copy;
}

static void insert(struct entries *entries, size_t place, struct slice name, struct slice field)
{
    if (place > entries->count)
        place = entries->count;
    memmove(entries->items + place + 1, entries->items + place, (entries->count - place) * sizeof *entries->items);
    entries->items[place][0] = name;
    entries->items[place][1] = field;
    entries->count++;
}

/* The index-th field of that name; an empty value takes it away, and one that isn't there is added. */
static void change_field(struct entries *entries, const struct milter_change *change, struct slice field)
{
    uint32_t seen = 0, wanted = change->index ? change->index : 1;
    for (size_t i = 0; i < entries->count; i++) {
        if (!slice_equals_nocase(entries->items[i][0], change->name) || ++seen != wanted)
            continue;
        if (change->value.size) {
            entries->items[i][1] = field;
        } else {
            entries->count--;
            memmove(entries->items + i, entries->items + i + 1, (entries->count - i) * sizeof *entries->items);
        }
        return;
    }
    if (change->value.size)
        insert(entries, entries->count, change->name, field);
}

/* CRLF alone ends lines of what we store. */
static void put_body(struct slice body, struct buf *out)
{
    for (size_t i = 0; i < body.size; i++) {
        char c = body.data[i];
        bool is_pair = c == '\r' && i + 1 < body.size && body.data[i + 1] == '\n';
        if (c == '\r' || c == '\n')
            buf_append_text(out, "\r\n");
        else
            buf_append_byte(out, c);
        i += is_pair;
    }
}

bool milter_apply(struct milter *milter, struct buf *out)
{
    const struct header *header = &milter->header;
    struct entries entries = {arena_alloc(milter->arena, (header->count + milter->change_count + 1) * sizeof *entries.items), 0};
    if (!milter->change_count && !milter->is_body_replaced)
        return false;
    for (size_t i = 0; i < header->count; i++)
        insert(&entries, entries.count, header->fields[i].name, header->fields[i].raw);
    for (size_t i = 0; i < milter->change_count; i++) {
        const struct milter_change *change = &milter->changes[i];
        struct slice field = make_field(milter->arena, change, milter->protocol & 0x100000);
        if (change->kind == 'm')
            change_field(&entries, change, field);
        else if (change->kind == 'i')
            insert(&entries, change->index ? change->index - 1 : 0, change->name, field);
        else
            insert(&entries, entries.count, change->name, field);
    }
    for (size_t i = 0; i < entries.count; i++)
        buf_append(out, entries.items[i][1]);
    buf_append_text(out, "\r\n");
    if (milter->is_body_replaced)
        put_body(buf_slice(&milter->body), out);
    else
        buf_append(out, slice_from(milter->subject.message, header->body_offset));
    return true;
}
