/* Files of other relays, mbox files and traceparents, of any bytes: what becomes of them begins with the block of envelope lines, as long as it says. */
#include "message/trace.h"
#include "pickup/foreign.h"
#include "pickup/mbox.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Its messages are parts of the file, in order, none longer than what is left of it. */
static void split(struct slice file)
{
    struct arena arena = {0};
    struct mbox_message *messages;
    struct error error = {{0}};
    size_t count, octets = 0, line = 0;
    if (mbox_split(&arena, file, &messages, &count, &error)) {
        CHECK(count > 0 && count <= MBOX_MESSAGES_MAX);
        for (size_t i = 0; i < count; i++) {
            CHECK(messages[i].line > line);
            line = messages[i].line;
            octets += messages[i].text.size;
        }
        CHECK(octets < file.size);
    } else {
        CHECK(error.text[0]);
    }
    arena_finish(&arena);
}

static void read_trace(struct slice text)
{
    struct slice kept;
    struct trace trace;
    if (trace_of_header(text, &kept))
        CHECK(trace_read(kept, &trace) && trace.id.size == TRACE_ID_SIZE && trace.parent.size == TRACE_SPAN_SIZE);
    (void)!trace_read(text, &trace);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice file = slice_make((const char *)data, size);
    split(file);
    read_trace(file);
    for (int dialect = CONFIG_DIALECT_AUTO; dialect <= CONFIG_DIALECT_RAW; dialect++) {
        struct buf out = {0};
        struct error error = {{0}};
        const char *name = NULL;
        enum foreign_result result = foreign_translate(file, dialect, &out, &name, &error);
        CHECK(result != FOREIGN_DONE || (name && slice_find(buf_slice(&out), SLICE("X-EndOfInjectedXHeaders: ")) > 0));
        CHECK(result != FOREIGN_BAD || error.text[0]);
        buf_clear(&out);
        if (foreign_join(file, file, &out, &error))
            CHECK(slice_starts(buf_slice(&out), SLICE("X-")));
        buf_finish(&out);
    }
    return 0;
}
