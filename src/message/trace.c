#include "message/trace.h"

#include "base/buf.h"

#include <openssl/sha.h>
#include <stdio.h>

enum { FLAGS_SIZE = 2, FIELD_SIZE = 3 + TRACE_ID_SIZE + 1 + TRACE_SPAN_SIZE + 1 + FLAGS_SIZE };

static bool is_hex(struct slice text, size_t size)
{
    for (size_t i = 0; i < text.size; i++)
        if (!(text.data[i] >= '0' && text.data[i] <= '9') && !(text.data[i] >= 'a' && text.data[i] <= 'f'))
            return false;
    return text.size == size;
}

static bool is_id(struct slice text, size_t size)
{
    size_t zeros = 0;
    while (zeros < text.size && text.data[zeros] == '0')
        zeros++;
    return is_hex(text, size) && zeros < size;
}

bool trace_of_header(struct slice value, struct slice *ret_kept)
{
    value = slice_trim(value);
    if (value.size < FIELD_SIZE)
        return false;
    struct slice rest = slice_first(value, FIELD_SIZE), version = slice_cut(&rest, '-'), kept = rest;
    struct slice trace = slice_cut(&rest, '-'), parent = slice_cut(&rest, '-');
    bool is_longer = value.size > FIELD_SIZE;
    if (!is_hex(version, 2) || slice_equals(version, SLICE("ff")) || !is_id(trace, TRACE_ID_SIZE) || !is_id(parent, TRACE_SPAN_SIZE)
        || !is_hex(rest, FLAGS_SIZE) || (is_longer && (slice_equals(version, SLICE("00")) || value.data[FIELD_SIZE] != '-')))
        return false;
    *ret_kept = kept;
    return true;
}

bool trace_read(struct slice kept, struct trace *ret_trace)
{
    struct slice trace = slice_cut(&kept, '-'), parent = SLICE_NONE;
    if (kept.size > FLAGS_SIZE) {
        parent = slice_cut(&kept, '-');
        if (!is_id(parent, TRACE_SPAN_SIZE))
            return false;
    }
    if (!is_id(trace, TRACE_ID_SIZE) || !is_hex(kept, FLAGS_SIZE))
        return false;
    char low = kept.data[1];
    *ret_trace = (struct trace){trace, parent, ((low <= '9' ? low - '0' : low - 'a' + 10) & 1) != 0};
    return true;
}

/* The first `size` digits of SHA-256 over kind, id and text. */
static void digest(const char *kind, uint64_t id, struct slice what, size_t size, char *ret_text)
{
    unsigned char sum[SHA256_DIGEST_LENGTH];
    struct buf all = {0};
    buf_printf(&all, "%s %llu ", kind, (unsigned long long)id);
    buf_append(&all, what);
    (void)SHA256((const unsigned char *)all.data, all.size, sum);
    buf_finish(&all);
    sum[0] |= 1; /* T1: not zero */
    for (size_t i = 0; i < size / 2; i++)
        (void)snprintf(ret_text + 2 * i, 3, "%02x", sum[i]);
}

void trace_make(struct slice host, uint64_t id, char ret_id[TRACE_ID_SIZE + 1])
{
    digest("trace", id, host, TRACE_ID_SIZE, ret_id);
}

void trace_make_span(uint64_t id, struct slice what, char ret_id[TRACE_SPAN_SIZE + 1])
{
    digest("span", id, what, TRACE_SPAN_SIZE, ret_id);
}
