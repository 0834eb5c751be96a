#include "pickup/resume.h"

#include "message/envelope.h"
#include "store/filter.h"

#include <stddef.h>

static const struct slice export_name = {"X-Mailroot-Export", 17};
static const struct slice attempt_name = {"X-Mailroot-Attempt", 18};

bool resume_is_export(const struct header *header)
{
    return header_find(header, export_name, 0) != NULL;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* RFC 3461 4: "+XX" is an octet. What is ill-formed stays as it is. */
static struct slice xtext_decode(struct arena *arena, struct slice text)
{
    struct buf out = {0};
    for (size_t i = 0; i < text.size; i++) {
        int high = text.data[i] == '+' && i + 2 < text.size ? hex_digit(text.data[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(text.data[i + 2]) : -1;
        buf_append_byte(&out, low >= 0 ? (char)(high << 4 | low) : text.data[i]);
        i += low >= 0 ? 2 : 0;
    }
    struct slice decoded = arena_copy(arena, buf_slice(&out));
    buf_finish(&out);
    return decoded;
}

/* The value of "key=" among blank-separated words; absent if it isn't there. */
static struct slice word_of(struct slice words, struct slice key)
{
    while (words.size) {
        struct slice value = slice_cut(&words, ' ');
        struct slice name = slice_cut(&value, '=');
        if (slice_equals(name, key) && value.size)
            return value;
    }
    return SLICE_NONE;
}

static bool past_time(struct slice words, struct slice key, int64_t now_ms, int64_t *ret_ms)
{
    int64_t ms;
    struct slice text = word_of(words, key);
    if (slice_is_absent(text) || !envelope_time_parse(text, &ms) || ms <= 0 || ms > now_ms)
        return false;
    *ret_ms = ms;
    return true;
}

void resume_message(struct arena *arena, const struct header *header, int64_t now_ms, struct store_message *message)
{
    const struct header_field *field = header_find(header, export_name, 0);
    if (field)
        (void)past_time(header_unfold(arena, field->value), SLICE("arrived"), now_ms, &message->arrived_ms);
}

static void resume_one(struct arena *arena, struct slice words, int64_t now_ms, struct store_recipient *recipient)
{
    static const struct { struct slice key; size_t offset; } texts[] = {
        {{"status", 6}, offsetof(struct store_recipient, last_status)},
        {{"reply", 5}, offsetof(struct store_recipient, last_reply)},
        {{"host", 4}, offsetof(struct store_recipient, last_host)},
    };
    enum { AHEAD_MAX_MS = 7 * 24 * 3600 * 1000 };
    uint64_t attempts;
    int64_t next_ms;
    struct slice next = word_of(words, SLICE("next"));
    if (slice_to_u64(word_of(words, SLICE("attempts")), &attempts) && attempts < 1000000)
        recipient->attempts = (unsigned)attempts;
    (void)past_time(words, SLICE("last"), now_ms, &recipient->last_attempt_ms);
    if (!slice_is_absent(next) && envelope_time_parse(next, &next_ms) && next_ms > recipient->next_ms
        && next_ms < now_ms + AHEAD_MAX_MS)
        recipient->next_ms = next_ms;
    recipient->is_delay_noticed = !slice_is_absent(word_of(words, SLICE("delay-noticed")));
    if (slice_equals(word_of(words, SLICE("state")), slice_of(state_name(STATE_HELD))))
        recipient->state = STATE_HELD;
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct slice text = word_of(words, texts[i].key);
        if (!slice_is_absent(text))
            *(struct slice *)((char *)recipient + texts[i].offset) = xtext_decode(arena, text);
    }
}

void resume_recipients(struct arena *arena, const struct header *header, int64_t now_ms,
                       struct store_recipient *recipients, size_t count)
{
    size_t likely = 0; /* the lines stand in the recipients' order */
    for (size_t i = 0; i < header->count; i++) {
        if (!slice_equals_nocase(header->fields[i].name, attempt_name))
            continue;
        struct slice words = header_unfold(arena, header->fields[i].value);
        struct slice path = slice_cut(&words, ' ');
        if (path.size < 2 || path.data[0] != '<' || path.data[path.size - 1] != '>')
            continue;
        path = slice_make(path.data + 1, path.size - 2);
        for (; likely < count; likely++) {
            if (slice_equals(recipients[likely].address, path)) {
                resume_one(arena, words, now_ms, &recipients[likely++]);
                break;
            }
        }
    }
}
