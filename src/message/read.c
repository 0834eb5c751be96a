#include "message/read_private.h"

#include "message/charset.h"

#include "message/address.h"
#include "message/header.h"

enum { DEPTH_MAX = 30, PARTS_MAX = 1000, PEOPLE_MAX = 10000 };

struct reading {
    struct arena *arena;
    struct read_message *message;
    size_t part_count;
    size_t file_capacity;
    bool has_plain, has_html;
};

static const struct header_limits limits = {SIZE_MAX / 2, 100000};

static struct slice field(struct arena *arena, const struct header *header, struct slice name)
{
    const struct header_field *found = header_find(header, name, 0);
    return found ? header_unfold(arena, found->value) : SLICE("");
}

static struct slice lower(struct arena *arena, struct slice text)
{
    char *copy = arena_text(arena, text);
    for (size_t i = 0; i < text.size; i++)
        if (copy[i] >= 'A' && copy[i] <= 'Z')
            copy[i] = (char)(copy[i] + 32);
    return slice_make(copy, text.size);
}

static struct slice without_brackets(struct slice text)
{
    text = slice_trim(text);
    if (text.size >= 2 && text.data[0] == '<' && text.data[text.size - 1] == '>')
        return slice_make(text.data + 1, text.size - 2);
    return text;
}

static struct slice decode(struct arena *arena, struct slice encoding, struct slice body)
{
    struct buf out = {0};
    if (slice_equals_nocase(encoding, SLICE("base64")))
        read_base64(body, &out);
    else if (slice_equals_nocase(encoding, SLICE("quoted-printable")))
        read_quoted_printable(body, false, &out);
    else if (slice_equals_nocase(encoding, SLICE("x-uuencode")) || slice_equals_nocase(encoding, SLICE("uuencode")))
        read_uuencoded(body, &out);
    else
        return body;
    struct slice copy = arena_copy(arena, buf_slice(&out));
    buf_finish(&out);
    return copy;
}

static struct slice text_of(struct arena *arena, struct slice bytes, struct slice charset)
{
    struct buf out = {0};
    charset_decode(charset, bytes, &out);
    struct slice copy = arena_copy(arena, buf_slice(&out));
    buf_finish(&out);
    return copy;
}

static void add_file(struct reading *reading, const struct read_file *file)
{
    struct read_message *message = reading->message;
    if (message->file_count == reading->file_capacity) {
        reading->file_capacity = reading->file_capacity ? 2 * reading->file_capacity : 8;
        message->files = arena_grow(reading->arena, message->files, message->file_count, reading->file_capacity,
                                    sizeof *message->files);
    }
    message->files[message->file_count++] = *file;
}

/* ---- parts ---- */

struct leaf { struct header header; struct slice content_type, type, disposition, body; };

static void take_leaf(struct reading *reading, const struct leaf *leaf)
{
    struct arena *arena = reading->arena;
    struct slice encoding = slice_trim(field(arena, &leaf->header, SLICE("Content-Transfer-Encoding")));
    struct slice bytes = decode(arena, encoding, leaf->body);
    bool is_attached = slice_starts_nocase(leaf->disposition, SLICE("attachment"));
    bool *has_text = slice_equals(leaf->type, SLICE("text/plain"))  ? &reading->has_plain
                     : slice_equals(leaf->type, SLICE("text/html")) ? &reading->has_html
                                                                    : NULL;
    struct slice name = read_parameter(arena, leaf->disposition, SLICE("filename"));
    if (slice_is_absent(name))
        name = read_parameter(arena, leaf->content_type, SLICE("name"));
    if (has_text && !*has_text && !is_attached && slice_is_absent(name)) {
        struct slice charset = read_parameter(arena, leaf->content_type, SLICE("charset"));
        struct slice text = text_of(arena, bytes, slice_is_absent(charset) ? SLICE("utf-8") : charset);
        *(has_text == &reading->has_html ? &reading->message->html : &reading->message->plain) = text;
        *has_text = true;
        return;
    }
    add_file(reading, &(struct read_file){
                          .name = slice_is_absent(name) ? SLICE("") : name, .type = leaf->type, .bytes = bytes,
                          .id = without_brackets(field(arena, &leaf->header, SLICE("Content-ID"))),
                          .location = read_words(arena, field(arena, &leaf->header, SLICE("Content-Location"))),
                          .base = read_words(arena, field(arena, &leaf->header, SLICE("Content-Base"))),
                          .is_message = slice_equals(leaf->type, SLICE("message/rfc822"))});
}

static bool part(struct reading *reading, struct slice raw, size_t depth, struct header *ret_header);

/* The next boundary line at or behind `at`: its start, line end and whether it closes. */
static bool find_boundary(struct slice body, struct slice boundary, size_t at, size_t *ret_start, size_t *ret_end,
                          bool *ret_is_closing);

static void multipart(struct reading *reading, struct slice body, struct slice boundary, size_t depth)
{
    size_t start, end, from = 0;
    bool is_open = false, is_closing = false;
    while (!is_closing && find_boundary(body, boundary, from, &start, &end, &is_closing)) {
        if (is_open) {
            struct slice inner = slice_make(body.data + from, start > from ? start - from : 0);
            if (inner.size && inner.data[inner.size - 1] == '\n')
                inner.size--;
            if (inner.size && inner.data[inner.size - 1] == '\r')
                inner.size--;
            (void)part(reading, inner, depth + 1, NULL);
        }
        is_open = true;
        from = end;
    }
    if (is_open && !is_closing && from < body.size)
        (void)part(reading, slice_from(body, from), depth + 1, NULL);
}

bool find_boundary(struct slice body, struct slice boundary, size_t at, size_t *ret_start, size_t *ret_end,
                   bool *ret_is_closing)
{
    while (at < body.size) {
        struct slice rest = slice_from(body, at);
        struct slice line = slice_cut(&rest, '\n');
        struct slice text = line;
        while (text.size && memchr(" \t\r", text.data[text.size - 1], 3))
            text.size--;
        size_t end = at + line.size + (at + line.size < body.size);
        if (text.size >= boundary.size + 2 && slice_starts(text, SLICE("--"))
            && slice_starts(slice_from(text, 2), boundary)) {
            struct slice tail = slice_from(text, boundary.size + 2);
            *ret_start = at;
            *ret_end = end;
            *ret_is_closing = slice_equals(tail, SLICE("--"));
            if (tail.size == 0 || *ret_is_closing)
                return true;
        }
        at = end;
    }
    return false;
}

static bool part(struct reading *reading, struct slice raw, size_t depth, struct header *ret_header)
{
    struct arena *arena = reading->arena;
    struct leaf leaf = {.body = raw};
    struct error ignored;
    bool is_header_empty = slice_starts(raw, SLICE("\r\n")) || slice_starts(raw, SLICE("\n"));
    if (++reading->part_count > PARTS_MAX)
        return true;
    if (is_header_empty)
        leaf.body = slice_from(raw, raw.data[0] == '\r' ? 2 : 1);
    else if (header_scan(arena, raw, &limits, &leaf.header, ret_header ? NULL : &ignored))
        leaf.body = slice_from(raw, leaf.header.body_offset);
    else if (ret_header)
        return false;
    if (ret_header)
        *ret_header = leaf.header;
    leaf.content_type = field(arena, &leaf.header, SLICE("Content-Type"));
    leaf.disposition = slice_trim(field(arena, &leaf.header, SLICE("Content-Disposition")));
    struct slice type = leaf.content_type;
    leaf.type = lower(arena, slice_trim(slice_cut(&type, ';')));
    if (leaf.type.size == 0)
        leaf.type = SLICE("text/plain");
    struct slice boundary = read_parameter(arena, leaf.content_type, SLICE("boundary"));
    if (slice_starts(leaf.type, SLICE("multipart/")) && boundary.size && depth < DEPTH_MAX)
        multipart(reading, leaf.body, boundary, depth);
    else
        take_leaf(reading, &leaf);
    return true;
}

/* ---- the message's own header ---- */

static struct slice display_of(struct arena *arena, struct slice display)
{
    char *text = arena_text(arena, display);
    size_t size = 0;
    for (size_t i = 0; i < display.size; i++) {
        if (display.data[i] == '\\' && i + 1 < display.size)
            i++;
        text[size++] = display.data[i];
    }
    return read_words(arena, slice_make(text, size));
}

static void add_people(struct reading *reading, const struct header *header, struct slice name, enum read_role role)
{
    struct read_message *message = reading->message;
    for (size_t i = 0; i < header->count; i++) {
        struct address_list list;
        if (!slice_equals_nocase(header->fields[i].name, name)
            || !address_list_parse(reading->arena, header->fields[i].value, PEOPLE_MAX, &list, NULL))
            continue;
        message->people = arena_grow(reading->arena, message->people, message->person_count,
                                     message->person_count + list.count, sizeof *message->people);
        for (size_t k = 0; k < list.count; k++)
            message->people[message->person_count++] = (struct read_person){
                role, display_of(reading->arena, list.items[k].display), list.items[k].text};
    }
}

static int importance_of(struct slice text)
{
    text = slice_trim(text);
    return slice_equals_nocase(text, SLICE("low")) ? 0 : slice_equals_nocase(text, SLICE("high")) ? 2 : 1;
}

bool read_message(struct arena *arena, struct slice raw, struct read_message *ret_message, struct error *error)
{
    static const struct { struct slice name; enum read_role role; } people[] = {
        {{"From", 4}, READ_FROM}, {{"To", 2}, READ_TO}, {{"Cc", 2}, READ_CC}, {{"X-Receiver", 10}, READ_RECEIVER}};
    struct read_message message = {.plain = SLICE(""), .html = SLICE("")};
    struct reading reading = {.arena = arena, .message = &message};
    struct header header;
    if (!part(&reading, raw, 0, &header))
        return error_set(error, "no message header");
    message.subject = read_words(arena, field(arena, &header, SLICE("Subject")));
    message.id = without_brackets(field(arena, &header, SLICE("Content-ID")));
    message.location = read_words(arena, field(arena, &header, SLICE("Content-Location")));
    message.base = read_words(arena, field(arena, &header, SLICE("Content-Base")));
    message.date_ms = read_date(field(arena, &header, SLICE("Date")));
    message.importance = importance_of(field(arena, &header, SLICE("Importance")));
    for (size_t i = 0; i < COUNT_OF(people); i++)
        add_people(&reading, &header, people[i].name, people[i].role);
    *ret_message = message;
    return true;
}

/* ---- dates ---- */

static bool take_number(struct slice *rest, int64_t *ret_number)
{
    size_t size = 0;
    *rest = slice_trim(*rest);
    *ret_number = 0;
    while (size < rest->size && size < 6 && rest->data[size] >= '0' && rest->data[size] <= '9')
        *ret_number = *ret_number * 10 + (rest->data[size++] - '0');
    *rest = slice_from(*rest, size);
    return size > 0;
}

static int64_t days_before(int64_t year, int64_t month, int64_t day) /* since 1970, Gregorian */
{
    year -= month <= 2;
    int64_t era = year / 400, of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

int64_t read_date(struct slice value)
{
    static const char months[] = "janfebmaraprmayjunjulaugsepoctnovdec";
    int64_t day, year, hour, minute, second = 0, zone = 0, month = 0;
    ptrdiff_t comma = slice_find_byte(value, ',');
    struct slice rest = comma >= 0 ? slice_from(value, (size_t)comma + 1) : value;
    if (!take_number(&rest, &day))
        return 0;
    rest = slice_trim(rest);
    for (int64_t i = 0; i < 12 && rest.size > 3; i++)
        if (slice_equals_nocase(slice_first(rest, 3), slice_make(months + 3 * i, 3)))
            month = i + 1;
    if (month == 0)
        return 0;
    rest = slice_from(rest, 3);
    if (!take_number(&rest, &year) || !take_number(&rest, &hour) || !slice_starts(rest, SLICE(":")))
        return 0;
    rest = slice_from(rest, 1);
    if (!take_number(&rest, &minute))
        return 0;
    if (slice_starts(rest, SLICE(":"))) {
        rest = slice_from(rest, 1);
        (void)take_number(&rest, &second);
    }
    rest = slice_trim(rest);
    if (rest.size >= 5 && (rest.data[0] == '+' || rest.data[0] == '-')) {
        struct slice digits = slice_from(rest, 1);
        bool is_west = rest.data[0] == '-';
        if (take_number(&digits, &zone))
            zone = (zone / 100 * 60 + zone % 100) * (is_west ? -60 : 60);
    }
    year += year < 50 ? 2000 : year < 1000 ? 1900 : 0;
    return ((days_before(year, month, day) * 24 + hour) * 3600 + minute * 60 + second - zone) * 1000;
}
