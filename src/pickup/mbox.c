#include "pickup/mbox.h"

#include "base/buf.h"
#include "config/config.h"
#include "pickup/foreign.h"

/* X1 */
static bool is_separator(struct slice line)
{
    static const char days[] = "Mon Tue Wed Thu Fri Sat Sun";
    if (!slice_starts(line, SLICE("From ")))
        return false;
    line = slice_from(line, 5);
    struct slice sender = slice_cut(&line, ' ');
    while (line.size && line.data[0] == ' ')
        line = slice_from(line, 1);
    return sender.size && line.size > 4 && line.data[3] == ' ' && slice_find(slice_of(days), slice_first(line, 3)) >= 0;
}

bool mbox_is(struct slice name, int dialect, struct slice file)
{
    bool is_said = dialect == CONFIG_DIALECT_MBOX || (dialect == CONFIG_DIALECT_AUTO && slice_ends_nocase(name, SLICE(".mbox")));
    return is_said && (dialect == CONFIG_DIALECT_MBOX || is_separator(foreign_line(&file)));
}

uint64_t mbox_number(const char *pickup, const char *name)
{
    uint64_t number;
    size_t size = strlen(name);
    if (strncmp(pickup, name, size) != 0)
        return 0;
    if (pickup[size] == '\0')
        return 1;
    return pickup[size] == '#' && slice_to_u64(slice_of(pickup + size + 1), &number) ? number : 0;
}

static bool is_quoted(struct slice line)
{
    size_t marks = 0;
    while (marks < line.size && line.data[marks] == '>')
        marks++;
    return marks && slice_starts(slice_from(line, marks), SLICE("From "));
}

/* One ">" less before each quoted "From ". */
static struct slice unquote(struct arena *arena, struct slice text)
{
    struct buf out = {0};
    struct slice rest = text;
    if (!slice_starts(text, SLICE(">")) && slice_find(text, SLICE("\n>")) < 0)
        return text;
    while (rest.size) {
        struct slice whole = rest, line = slice_cut(&rest, '\n');
        whole.size -= rest.size;
        buf_append(&out, is_quoted(line) ? slice_from(whole, 1) : whole);
    }
    struct slice copy = arena_copy(arena, buf_slice(&out));
    buf_finish(&out);
    return copy;
}

/* Without the empty line that parts it from the next one. */
static struct slice without_last_line(struct slice text)
{
    if (text.size && text.data[text.size - 1] == '\n')
        text.size -= text.size > 1 && text.data[text.size - 2] == '\r' ? 2 : 1;
    else
        return text;
    bool is_empty = text.size && text.data[text.size - 1] == '\n';
    return is_empty ? text : slice_first(text, text.size + (text.data[text.size] == '\r' ? 2 : 1));
}

struct splitting { struct arena *arena; struct mbox_message *items; size_t count, capacity; };

static void add(struct splitting *to, const char *start, const char *end, size_t line)
{
    if (to->count == to->capacity) {
        size_t capacity = to->capacity ? 2 * to->capacity : 16;
        to->items = arena_grow(to->arena, to->items, to->count, capacity, sizeof *to->items);
        to->capacity = capacity;
    }
    struct slice text = without_last_line(slice_make(start, (size_t)(end - start)));
    to->items[to->count++] = (struct mbox_message){unquote(to->arena, text), line};
}

bool mbox_split(struct arena *arena, struct slice file, struct mbox_message **ret_messages, size_t *ret_count, struct error *error)
{
    struct splitting to = {.arena = arena};
    struct slice rest = file;
    const char *start = NULL;
    bool is_after_empty = true;
    size_t number = 0, begun = 0;
    while (rest.size && to.count <= MBOX_MESSAGES_MAX) {
        const char *at = rest.data;
        struct slice line = foreign_line(&rest);
        number++;
        if (is_after_empty && is_separator(line)) {
            if (start)
                add(&to, start, at, begun);
            start = rest.size ? rest.data : file.data + file.size;
            begun = number + 1;
        } else if (!start && line.size) {
            return error_set(error, "line %zu: mbox: a line as in \"From a@example.com Tue Nov 24 04:18:00 2026\" was expected", number);
        }
        is_after_empty = line.size == 0;
    }
    if (start)
        add(&to, start, file.data + file.size, begun);
    *ret_messages = to.items;
    *ret_count = to.count;
    if (to.count > MBOX_MESSAGES_MAX)
        return error_set(error, "mbox: at most %d messages are taken from one file: split it", MBOX_MESSAGES_MAX);
    return to.count || error_set(error, "mbox: there is no message in it");
}
