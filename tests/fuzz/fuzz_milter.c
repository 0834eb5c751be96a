/* A filter that answers anything, cut anywhere. The talk ends or waits, a reply is one printable
 * line of 4xx or 5xx, and a changed message has CRLF alone as its line ends. */
#include "inbound/milter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_reply(const char *reply)
{
    CHECK(reply && (reply[0] == '4' || reply[0] == '5') && strlen(reply) < 600);
    for (; *reply; reply++)
        CHECK(*reply >= ' ' && *reply <= '~');
}

static void check_message(struct slice message)
{
    for (size_t i = 0; i < message.size; i++) {
        CHECK(message.data[i] != '\n' || (i && message.data[i - 1] == '\r'));
        CHECK(message.data[i] != '\r' || (i + 1 < message.size && message.data[i + 1] == '\n'));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct submission_recipient recipients[] = {{.address = {"r@y.test", 8}}};
    static const struct submission submission = {.sender = {"a@x.test", 8}, .recipients = recipients, .recipient_count = 1};
    struct arena arena = {0};
    struct milter milter;
    struct buf out = {0};
    size_t piece = size ? 1 + data[0] % 64 : 1;
    const struct milter_subject subject = {
        .client_name = SLICE("[::]"), .helo = SLICE("h.test"), .submission = &submission, .host = SLICE("me.test"), .id = SLICE("1"),
        .message = SLICE("A: 1\r\nSubject: x\r\n y\r\nA: 2\r\n\r\nbody\r\n"),
    };
    milter_begin(&milter, &arena, &subject);
    for (size_t at = 1; at < size && milter.end == MILTER_TALKS; at += piece) {
        milter_feed(&milter, slice_make((const char *)data + at, piece < size - at ? piece : size - at));
        CHECK(milter.output.size < 100000);
        buf_clear(&milter.output);
    }
    CHECK((milter.end == MILTER_FAILED) == (milter.reason != NULL));
    if (milter.end == MILTER_REFUSES)
        check_reply(milter.reply);
    if (milter.end == MILTER_ACCEPTS && milter_apply(&milter, &out))
        check_message(buf_slice(&out));
    buf_finish(&out);
    milter_finish(&milter);
    arena_finish(&arena);
    return 0;
}
