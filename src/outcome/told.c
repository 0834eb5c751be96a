#include "outcome/told.h"

#include <stddef.h>

#define TEXT(name) offsetof(struct event, name)

static const size_t texts[] = {TEXT(pickup), TEXT(sender), TEXT(recipient), TEXT(client), TEXT(helo), TEXT(user), TEXT(tls),
                               TEXT(stage), TEXT(status), TEXT(reply), TEXT(reason), TEXT(note)};
enum { NUMBERS = 6 };

static void put_number(struct buf *packet, int64_t number)
{
    buf_append(packet, slice_make((const char *)&number, sizeof number));
}

static const struct slice *text_at(const struct event *event, size_t offset)
{
    return (const struct slice *)(const void *)((const char *)event + offset);
}

void told_put(struct buf *packet, const struct event *event)
{
    buf_append_byte(packet, (char)event->kind);
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct slice text = *text_at(event, texts[i]);
        size_t size = text.size < TOLD_TEXT_SIZE_MAX ? text.size : TOLD_TEXT_SIZE_MAX;
        unsigned short length = (unsigned short)(slice_is_absent(text) ? 0 : size + 1); /* 0: absent */
        buf_append(packet, slice_make((const char *)&length, sizeof length));
        if (length)
            buf_append(packet, slice_first(text, size));
    }
    const int64_t numbers[NUMBERS] = {event->code, event->size, event->recipients, event->octets_in, event->octets_out,
                                      event->transaction_ms};
    for (size_t i = 0; i < NUMBERS; i++)
        put_number(packet, numbers[i]);
}

static bool take(struct slice *rest, void *to, size_t size)
{
    if (rest->size < size)
        return false;
    memcpy(to, rest->data, size);
    *rest = slice_from(*rest, size);
    return true;
}

static bool take_text(struct slice *rest, struct slice *ret_text)
{
    unsigned short length;
    if (!take(rest, &length, sizeof length) || length > rest->size + 1)
        return false;
    if (length == 0)
        return true;
    *ret_text = slice_first(*rest, length - 1U);
    *rest = slice_from(*rest, length - 1U);
    return true;
}

bool told_take(struct slice *rest, struct event *ret_event)
{
    unsigned char kind;
    int64_t numbers[NUMBERS];
    if (!take(rest, &kind, sizeof kind) || kind < EVENT_TURNED_AWAY || kind > EVENT_COMMAND)
        return false;
    *ret_event = EVENT((enum event_kind)kind);
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        if (!take_text(rest, (struct slice *)(void *)((char *)ret_event + texts[i])))
            return false;
    if (!take(rest, numbers, sizeof numbers))
        return false;
    ret_event->code = numbers[0] >= 0 && numbers[0] <= 999 ? (int)numbers[0] : 0;
    ret_event->size = numbers[1];
    ret_event->recipients = numbers[2];
    ret_event->octets_in = numbers[3];
    ret_event->octets_out = numbers[4];
    ret_event->transaction_ms = numbers[5];
    return true;
}
