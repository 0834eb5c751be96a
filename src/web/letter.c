#include "web/letter.h"

#include "os/clock.h"

#include <sys/random.h>

struct slice letter_one_line(struct arena *arena, struct slice text)
{
    char *out = arena_text(arena, text);
    for (size_t i = 0; i < text.size; i++)
        if ((unsigned char)out[i] < 0x20 || out[i] == 0x7f)
            out[i] = ' ';
    return slice_trim(slice_make(out, text.size));
}

static struct slice safe_type(struct slice type)
{
    size_t slashes = 0;
    for (size_t i = 0; i < type.size; i++) {
        unsigned char c = (unsigned char)type.data[i];
        slashes += c == '/';
        bool is_token = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || (c && strchr("/.+-_", c));
        if (!is_token)
            return SLICE("application/octet-stream");
    }
    bool is_nesting = slice_starts_nocase(type, SLICE("message/")) || slice_starts_nocase(type, SLICE("multipart/"));
    return slashes == 1 && type.size < 80 && !is_nesting ? type : SLICE("application/octet-stream");
}

struct compose_file letter_file(struct arena *arena, struct slice name, struct slice type, struct slice content)
{
    return (struct compose_file){.kind = COMPOSE_ATTACHED, .name = letter_one_line(arena, name), .type = safe_type(type),
                                 .bytes = slice_is_absent(content) ? SLICE("") : content};
}

/* The list as a field's value; a display name is as it was written, without its quotes. */
static struct slice join(struct arena *arena, const struct address_list *list)
{
    struct slice joined = SLICE("");
    for (size_t i = 0; i < list->count; i++) {
        const struct address *address = &list->items[i];
        struct slice mailbox = address->display.size ? arena_printf(arena, "\"%.*s\" <%.*s>", SLICE_FMT(address->display),
                                                                    SLICE_FMT(address->text)) : address->text;
        joined = arena_printf(arena, "%.*s%s%.*s", SLICE_FMT(joined), i ? ", " : "", SLICE_FMT(mailbox));
    }
    return joined;
}

bool letter_compose(struct arena *arena, const struct letter *letter, struct buf *out, struct error *error)
{
    struct compose_field fields[2];
    struct compose compose = {.from = &letter->from, .to = &letter->to, .cc = &letter->cc, .subject = letter->subject, .fields = fields,
                              .plain = letter->text, .html = letter->html, .files = letter->files, .file_count = letter->file_count,
                              .importance = 1, .time_ms = clock_wall_ms()};
    if (letter->reply_to.count)
        fields[compose.field_count++] = (struct compose_field){SLICE("Reply-To"), join(arena, &letter->reply_to)};
    if (letter->is_auto_reply)
        fields[compose.field_count++] = (struct compose_field){SLICE("Auto-Submitted"), SLICE("auto-replied")};
    if (getrandom(compose.random, sizeof compose.random, 0) != (ssize_t)sizeof compose.random)
        return error_set(error, "the system gives no random numbers");
    return compose_message(arena, &compose, out, error);
}
