#include "message/header.h"

enum { FIELDS_FIRST = 32, RECEIVER_LINE_MAX = 4096 };

struct scan {
    struct arena *arena;
    struct slice file;
    const struct header_limits *limits;
    struct header *header;
    size_t capacity;
    size_t at;   /* offset of the next line */
    size_t line; /* its number */
    struct error *error;
    size_t receivers, receivers_size; /* not counted: X-Receiver fields, their octets */
    bool is_receiver; /* the latest field is one of them */
};

static size_t line_end(const struct scan *scan, size_t from)
{
    const char *end = memchr(scan->file.data + from, '\n', scan->file.size - from);
    return end ? (size_t)(end - scan->file.data) + 1 : scan->file.size;
}

static bool is_empty_line(struct slice line)
{
    return slice_equals(line, SLICE("\n")) || slice_equals(line, SLICE("\r\n"));
}

/* Octets of the field name in front of the colon (obsolete blanks cut off); 0 if the line is no field. */
static size_t name_size(struct slice line, size_t *ret_colon)
{
    ptrdiff_t colon = slice_find_byte(line, ':');
    if (colon <= 0)
        return 0;
    size_t size = (size_t)colon;
    while (size && (line.data[size - 1] == ' ' || line.data[size - 1] == '\t'))
        size--;
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)line.data[i];
        /* RFC 5322 2.2: printable US-ASCII but the colon. */
        if (c <= 0x20 || c >= 0x7f)
            return 0;
    }
    *ret_colon = (size_t)colon;
    return size;
}

static bool refuse_encoding(struct scan *scan)
{
    struct slice file = scan->file;
    if (slice_starts(file, SLICE("\xFF\xFE")) || slice_starts(file, SLICE("\xFE\xFF")))
        return error_set(scan->error, "line 1: UTF-16 text: a message is written in ASCII or UTF-8");
    if (slice_starts(file, SLICE("\xEF\xBB\xBF")))
        scan->at = 3;
    return true;
}

/* One more X-Receiver field that isn't counted. */
static bool is_receiver(const struct scan *scan, struct slice line)
{
    return scan->receivers < scan->limits->receivers_max && slice_starts_nocase(line, SLICE("X-Receiver:"));
}

static bool is_of_receiver(const struct scan *scan, struct slice line)
{
    return is_receiver(scan, line) || (scan->is_receiver && line.size && (line.data[0] == ' ' || line.data[0] == '\t'));
}

static bool add_field(struct scan *scan, struct slice line, size_t size, size_t colon)
{
    struct header *header = scan->header;
    scan->is_receiver = is_receiver(scan, line);
    scan->receivers += scan->is_receiver;
    if (header->count - scan->receivers >= scan->limits->count_max && !scan->is_receiver)
        return error_set(scan->error, "line %zu: header too large: more than %zu fields", scan->line,
                         scan->limits->count_max);
    if (header->count == scan->capacity) {
        size_t capacity = scan->capacity ? scan->capacity * 2 : FIELDS_FIRST;
        header->fields = arena_grow(scan->arena, header->fields, header->count, capacity,
                                    sizeof *header->fields);
        scan->capacity = capacity;
    }
    header->fields[header->count++] = (struct header_field){
        .name = slice_first(line, size),
        .value = slice_from(line, colon + 1),
        .raw = line,
        .line = scan->line,
    };
    return true;
}

static void extend_field(struct scan *scan, struct slice line)
{
    struct header_field *field = &scan->header->fields[scan->header->count - 1];
    field->raw.size += line.size;
    field->value.size += line.size;
}

static void cut_line_ends(struct header *header)
{
    for (size_t i = 0; i < header->count; i++) {
        struct slice *value = &header->fields[i].value;
        if (value->size && value->data[value->size - 1] == '\n')
            value->size--;
        if (value->size && value->data[value->size - 1] == '\r')
            value->size--;
    }
}

static bool is_mbox_line(struct slice line)
{
    return slice_starts(line, SLICE("From ")) || slice_starts(line, SLICE(">From "));
}

enum step { STEP_ON, STEP_END, STEP_BAD };

static enum step scan_line(struct scan *scan, struct slice line)
{
    struct header *header = scan->header;
    size_t colon = 0;

    if (is_empty_line(line)) {
        header->has_separator = true;
        scan->at += line.size;
        scan->line++;
        return STEP_END;
    }
    if (memchr(line.data, '\0', line.size)) {
        (void)error_set(scan->error, "line %zu: NUL octet in the header", scan->line);
        return STEP_BAD;
    }
    if (line.data[0] == ' ' || line.data[0] == '\t') {
        if (header->count == 0) {
            (void)error_set(scan->error, "line %zu: begins with a blank: a field name was expected",
                            scan->line);
            return STEP_BAD;
        }
        extend_field(scan, line);
        return STEP_ON;
    }
    if (header->count == 0 && slice_is_absent(header->mbox_line) && is_mbox_line(line)) {
        header->mbox_line = line;
        return STEP_ON;
    }
    size_t size = name_size(line, &colon);
    if (size)
        return add_field(scan, line, size, colon) ? STEP_ON : STEP_BAD;
    if (header->count == 0) {
        (void)error_set(scan->error, "line %zu: no header: a field as in \"To: a@example.com\" was expected",
                        scan->line);
        return STEP_BAD;
    }
    return STEP_END; /* H3: the body begins without an empty line */
}

bool header_scan(struct arena *arena, struct slice file, const struct header_limits *limits,
                 struct header *ret_header, struct error *error)
{
    struct header header = {0};
    struct scan scan = {.arena = arena, .file = file, .limits = limits, .header = &header, .line = 1, .error = error};

    if (!refuse_encoding(&scan))
        return false;
    if (slice_trim(slice_first(file, file.size < 1024 ? file.size : 1024)).size == 0)
        return error_set(error, "line 1: nothing but blank lines where a header was expected");
    while (scan.at < file.size) {
        /* A line is looked for in what the limit leaves, so that 100 MB without a line end cost nothing. */
        size_t room = limits->size_max + scan.receivers_size + (is_of_receiver(&scan, slice_from(file, scan.at)) ? RECEIVER_LINE_MAX : 0);
        scan.file.size = file.size < room + 1 ? file.size : room + 1;
        if (scan.at >= scan.file.size)
            return error_set(error, "line %zu: header too large: over %zu octets", scan.line,
                             limits->size_max);
        size_t end = line_end(&scan, scan.at);
        if (end > room)
            return error_set(error, "line %zu: header too large: over %zu octets", scan.line,
                             limits->size_max);
        struct slice line = slice_make(file.data + scan.at, end - scan.at);
        if (scan.line == 1 && is_empty_line(line))
            return error_set(error, "line 1: empty: a header was expected before the first empty line");
        enum step step = scan_line(&scan, line);
        if (step == STEP_BAD)
            return false;
        if (step == STEP_END)
            break;
        if (scan.is_receiver)
            scan.receivers_size += line.size;
        scan.at = end;
        scan.line++;
    }
    if (header.count == 0)
        return error_set(error, "line %zu: no header field at all", scan.line);
    cut_line_ends(&header);
    header.body_offset = scan.at;
    header.body_line = scan.line;
    *ret_header = header;
    return true;
}

const struct header_field *header_find(const struct header *header, struct slice name, size_t from)
{
    for (size_t i = from; i < header->count; i++)
        if (slice_equals_nocase(header->fields[i].name, name))
            return &header->fields[i];
    return NULL;
}

size_t header_count(const struct header *header, struct slice name)
{
    size_t count = 0;
    for (size_t i = 0; i < header->count; i++)
        count += slice_equals_nocase(header->fields[i].name, name);
    return count;
}

struct slice header_unfold(struct arena *arena, struct slice value)
{
    value = slice_trim(value);
    if (slice_find_byte(value, '\n') < 0 && slice_find_byte(value, '\r') < 0)
        return value;
    char *text = arena_alloc(arena, value.size + 1);
    size_t size = 0;
    for (size_t i = 0; i < value.size; i++)
        if (value.data[i] != '\r' && value.data[i] != '\n')
            text[size++] = value.data[i];
    return slice_make(text, size);
}
