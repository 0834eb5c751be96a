#include "message/envelope_private.h"

/* Evidence for a writer, first match wins. */
static bool has(const struct header *header, const char *name)
{
    return header_find(header, slice_of(name), 0) != NULL;
}

static bool is_replay(const struct header *header)
{
    return has(header, "X-CreatedBy") || has(header, "X-EndOfInjectedXHeaders") || has(header, "X-HeloDomain");
}

static bool is_powermta(const struct header *header)
{
    return has(header, "x-virtual-mta") || has(header, "x-job") || has(header, "x-envid");
}

/* System.Net.Mail: MIME-Version is the first field behind the X- lines, and there is no Message-ID. */
static bool is_dotnet(const struct header *header)
{
    size_t i = 0;
    while (i < header->count
           && (slice_equals_nocase(header->fields[i].name, SLICE("X-Sender"))
               || slice_equals_nocase(header->fields[i].name, SLICE("X-Receiver"))))
        i++;
    return i >= 2 && i < header->count && slice_equals(header->fields[i].name, SLICE("MIME-Version"))
           && !has(header, "Message-ID");
}

static bool is_iis(const struct header *header)
{
    return has(header, "X-Sender") || has(header, "X-Receiver");
}

static bool is_mbox(const struct header *header)
{
    return !slice_is_absent(header->mbox_line);
}

static const struct {
    const char *name;
    bool (*is)(const struct header *header);
} dialects[] = {
    {"exchange-replay", is_replay}, {"powermta", is_powermta}, {"dotnet", is_dotnet},
    {"iis", is_iis},                {"mbox", is_mbox},
};

/* Whether a header block with From: or To: begins at `text`. */
static bool is_header_block(struct slice text)
{
    static const struct slice marks[] = {{"From:", 5}, {"To:", 3}, {"Date:", 5}, {"Message-ID:", 11}};
    size_t fields = 0, found = 0;
    while (text.size && fields < 200) {
        struct slice line = slice_cut(&text, '\n');
        if (line.size && line.data[line.size - 1] == '\r')
            line.size--;
        if (line.size == 0)
            break;
        if (line.data[0] == ' ' || line.data[0] == '\t')
            continue;
        ptrdiff_t colon = slice_find_byte(line, ':');
        if (colon <= 0 || slice_find_byte(slice_first(line, (size_t)colon), ' ') >= 0)
            return false;
        for (size_t i = 0; i < COUNT_OF(marks); i++)
            found += slice_starts_nocase(line, marks[i]);
        fields++;
    }
    return fields >= 3 && found >= 3;
}

static struct slice after(struct slice text, ptrdiff_t at, size_t size)
{
    return slice_from(text, (size_t)at + size);
}

/* Django's file back-end: messages parted by a line of 79 dashes, the last one behind the last message. */
static bool refuse_django(struct reading *reading, struct slice body)
{
    char dashes[81];
    memset(dashes, '-', 80);
    dashes[0] = '\n';
    struct slice mark = slice_make(dashes, 80);
    ptrdiff_t at = slice_find(body, mark);
    if (at < 0)
        return true;
    struct slice rest = after(body, at, mark.size);
    bool is_end = slice_trim(rest).size == 0;
    if (rest.size && rest.data[0] != '\n' && rest.data[0] != '\r')
        return true; /* a longer rule of dashes in somebody's text */
    if (!is_end && !is_header_block(slice_from(rest, rest.data[0] == '\r' ? 2 : 1)))
        return true;
    return error_set(reading->error, "not one message: a log of Django's file back-end (messages parted by 79 "
                                     "dashes); have it write one file a message");
}

static bool refuse_mbox(struct reading *reading, struct slice body)
{
    ptrdiff_t at;
    while (is_mbox(reading->header) && (at = slice_find(body, SLICE("\n\nFrom "))) >= 0) {
        struct slice rest = after(body, at, 2);
        (void)slice_cut(&rest, '\n');
        if (is_header_block(rest))
            return error_set(reading->error, "not one message: an mbox with several; name it *.mbox, or drop one file a message");
        body = rest;
    }
    return true;
}

/* Ruby mail's :file delivery appends message after message, each begun by Date: and From:. */
static bool refuse_ruby(struct reading *reading, struct slice body)
{
    static const struct slice marks[] = {{"\r\n\r\nDate: ", 10}, {"\n\nDate: ", 8}};
    if (!slice_equals_nocase(reading->header->fields[0].name, SLICE("Date")))
        return true;
    for (size_t i = 0; i < COUNT_OF(marks); i++) {
        struct slice rest = body;
        ptrdiff_t at;
        while ((at = slice_find(rest, marks[i])) >= 0) {
            rest = after(rest, at, marks[i].size - 6);
            if (is_header_block(rest) && slice_find(rest, SLICE("Message-ID:")) >= 0
                && slice_find(rest, SLICE("Message-ID:")) < 2000)
                return error_set(reading->error, "not one message: Ruby mail's :file delivery appended several; "
                                                 "have it write one file a message");
            rest = slice_from(rest, rest.size ? 1 : 0);
        }
    }
    return true;
}

bool dialect_find(struct reading *reading)
{
    struct slice body = slice_from(reading->file, reading->header->body_offset);
    if (reading->envelope->accepted) { /* one message by nature, whatever its text looks like */
        reading->envelope->dialect = "smtp";
        return true;
    }
    if (reading->options->dialect) {
        reading->envelope->dialect = reading->options->dialect;
        return true;
    }
    reading->envelope->dialect = "plain";
    for (size_t i = 0; i < COUNT_OF(dialects); i++)
        if (dialects[i].is(reading->header)) {
            reading->envelope->dialect = dialects[i].name;
            break;
        }
    return refuse_django(reading, body) && refuse_mbox(reading, body) && refuse_ruby(reading, body);
}
