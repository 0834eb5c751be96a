#include "pickup/intake_private.h"

#include "pickup/mbox.h"

/* False with a reason that names the message. */
static bool prepare_part(struct preparation *of, const struct mbox_message *from, size_t number)
{
    struct ready *part = &of->parts[number - 1];
    if (prepare_message(&of->arena, of->intake->parts.config, from->text, &part->about, &part->prepared, &of->error) == CONTENT_DONE)
        return true;
    return error_prefix(&of->error, "mbox, message %zu, from line %zu on", number, from->line);
}

static bool prepare_all(struct preparation *of)
{
    struct mbox_message *messages;
    size_t count;
    if (!mbox_split(&of->arena, buf_slice(&of->bytes), &messages, &count, &of->error))
        return false;
    of->parts = arena_alloc(&of->arena, count * sizeof *of->parts);
    while (of->part_count < count) {
        struct ready *part = &of->parts[of->part_count++];
        *part = (struct ready){.about = of->about};
        part->about.dialect = "mbox";
        if (of->part_count > 1)
            part->about.id = ids_next(of->intake->parts.ids, of->about.time_ms);
        if (count > 1)
            part->about.name = arena_printf(&of->arena, "%.*s#%zu", SLICE_FMT(of->about.name), of->part_count);
        if (!prepare_part(of, &messages[of->part_count - 1], of->part_count))
            return false;
    }
    return true;
}

bool preparation_mbox(struct preparation *of)
{
    int dialect = prepare_dialect(of->intake->parts.config, of->about.folder);
    if (of->about.dialect || !mbox_is(of->about.name, dialect, buf_slice(&of->bytes)))
        return false;
    of->result = prepare_all(of) ? CONTENT_DONE : CONTENT_BAD;
    return true;
}
