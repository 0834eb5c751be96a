/* A bounce of mail that had a VERP sender comes back into a mailbox here: whom it is about stands in the address, why in the
 * notice (RFC 3464 2.3). It is told as an event, and feeds the suppression list if that is wished. */
#include "relay/relay_private.h"

#include "os/clock.h"

#include <ctype.h>

struct report { struct slice status, diagnostic; bool is_failed; };

static bool take(struct slice line, struct slice name, struct slice *ret_value)
{
    if (!slice_starts_nocase(line, name))
        return false;
    *ret_value = slice_trim(slice_from(line, name.size));
    return true;
}

/* The first recipient's fields of the notice; nothing where it is none. */
static struct report read_report(struct slice content)
{
    struct report report = {.status = SLICE_NONE, .diagnostic = SLICE_NONE};
    struct slice action = SLICE("");
    ptrdiff_t at = slice_find(content, SLICE("message/delivery-status"));
    struct slice rest = at < 0 ? SLICE("") : slice_from(content, (size_t)at);
    while (rest.size) {
        struct slice line = slice_cut(&rest, '\n');
        if (slice_starts(line, SLICE("--")) && !slice_is_absent(report.status))
            break;
        if (slice_is_absent(report.status) && take(line, SLICE("Status:"), &report.status))
            continue;
        if (action.size == 0 && take(line, SLICE("Action:"), &action))
            continue;
        if (slice_is_absent(report.diagnostic))
            (void)take(line, SLICE("Diagnostic-Code:"), &report.diagnostic);
    }
    report.is_failed = slice_starts_nocase(action, SLICE("failed"));
    return report;
}

/* "smtp; 550 5.1.1 no such user": the reply's code. */
static int code_of(struct slice *diagnostic)
{
    if (!slice_starts_nocase(*diagnostic, SLICE("smtp;")))
        return 0;
    *diagnostic = slice_trim(slice_from(*diagnostic, 5));
    const char *c = diagnostic->data;
    return diagnostic->size >= 3 && isdigit((unsigned char)c[0]) && isdigit((unsigned char)c[1]) && isdigit((unsigned char)c[2])
               ? (c[0] - '0') * 100 + (c[1] - '0') * 10 + c[2] - '0' : 0;
}

void relay_suppress(struct relay *relay, struct arena *arena, struct slice address, const struct reply_class *class, struct slice words)
{
    struct error error;
    struct suppression entry = {arena_text(arena, address), class->name, arena_text(arena, words), clock_wall_ms()};
    if (!relay->config->suppress.is_on || !class->is_address_bad || suppressed_add(relay->suppressed, &entry, &error))
        return;
    struct event event = EVENT(EVENT_WARNING);
    event.recipient = address;
    event.reason = slice_of(error.text);
    event_put(relay->parts.log, &event);
}

void returned_note(struct item *item, const struct store_recipient *recipient)
{
    struct relay *relay = item->relay;
    struct arena arena = {0};
    struct slice content = SLICE(""), bounced;
    struct error error;
    if (item->queued->message.sender.size == 0
        && return_path_bounced(signer_return_path(relay->parts.signer), &arena, recipient->address, &bounced)
        && item_content(item, &content, &error)) {
        struct report report = read_report(content);
        struct slice words = report.diagnostic;
        int code = code_of(&words);
        struct reply_meaning meaning = {NULL, REPLY_BY_CODE};
        if (code >= 400 || !slice_is_absent(report.status))
            meaning = replies_find(relay->config->replies, SLICE(""), code >= 400 ? code : report.is_failed ? 550 : 450,
                                   arena_text(&arena, slice_is_absent(report.status) ? SLICE("5.0.0") : report.status),
                                   slice_is_absent(words) ? SLICE("") : words);
        struct event event = EVENT(EVENT_RETURNED);
        event.id = item->id;
        event.recipient = bounced;
        event.code = code;
        event.status = report.status;
        event.class = meaning.class ? slice_of(meaning.class->name) : SLICE_NONE;
        event.reply = words;
        event.note = slice_is_absent(report.status) ? SLICE("it is no delivery status notification") : SLICE_NONE;
        event_put(relay->parts.log, &event);
        if (report.is_failed && meaning.class)
            relay_suppress(relay, &arena, bounced, meaning.class, slice_is_absent(words) ? report.status : words);
    }
    arena_finish(&arena);
}
