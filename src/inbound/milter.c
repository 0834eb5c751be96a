#include "inbound/milter.h"

#include <arpa/inet.h>

enum { VERSION = 6, ACTIONS = 0x1 | 0x2 | 0x10 | 0x20 }; /* add fields, change the body, change fields, hold */
enum { LEADING_SPACE = 0x100000, SKIPS = 0x400, OFFERED = 0x1ff7ff }; /* all of version 6 but recipients that we refused */

static const struct { char command; uint32_t left_out, unanswered; } rows[] = {
    [STEP_NEGOTIATE] = {'O', 0, 0},        [STEP_CONNECT] = {'C', 0x1, 0x1000},  [STEP_HELO] = {'H', 0x2, 0x2000},
    [STEP_MAIL] = {'M', 0x4, 0x4000},      [STEP_RCPT] = {'R', 0x8, 0x8000},     [STEP_DATA] = {'T', 0x200, 0x10000},
    [STEP_HEADER] = {'L', 0x20, 0x80},     [STEP_EOH] = {'N', 0x40, 0x40000},    [STEP_BODY] = {'B', 0x10, 0x80000},
    [STEP_END] = {'E', 0, 0},
};

static void fail(struct milter *milter, const char *reason)
{
    milter->end = MILTER_FAILED;
    milter->reason = reason;
}

/* ---- what is said ---- */

static size_t packet_open(struct buf *out, char command)
{
    size_t start = out->size;
    buf_append(out, slice_make("\0\0\0\0", 4));
    buf_append_byte(out, command);
    return start;
}

static void packet_close(struct buf *out, size_t start)
{
    uint32_t size = htonl((uint32_t)(out->size - start - 4));
    memcpy(out->data + start, &size, 4);
}

static void put_u32(struct buf *out, uint32_t number)
{
    uint32_t wire = htonl(number);
    buf_append(out, slice_make((const char *)&wire, 4));
}

/* A text and its NUL; what stands behind a NUL of its own is left out. */
static void put_text(struct buf *out, struct slice text)
{
    buf_append(out, slice_cut(&text, '\0'));
    buf_append_byte(out, '\0');
}

static void put_macro(struct buf *out, const char *name, struct slice value)
{
    if (value.size == 0)
        return;
    put_text(out, slice_of(name));
    put_text(out, value);
}

/* The macros that filters ask for, ahead of their command. */
static void put_macros(struct milter *milter, struct slice recipient)
{
    struct buf *out = &milter->output;
    const struct milter_subject *subject = &milter->subject;
    size_t start = packet_open(out, 'D');
    buf_append_byte(out, rows[milter->step].command);
    if (milter->step == STEP_CONNECT) {
        put_macro(out, "j", subject->host);
        put_macro(out, "{daemon_name}", SLICE("mailroot"));
        put_macro(out, "{client_name}", subject->client_name);
        put_macro(out, "v", SLICE("mailroot"));
    } else if (milter->step == STEP_MAIL) {
        put_macro(out, "i", subject->id);
        put_macro(out, "{mail_addr}", subject->submission->sender);
        put_macro(out, "{auth_authen}", subject->user);
    } else if (milter->step == STEP_RCPT) {
        put_macro(out, "{rcpt_addr}", recipient);
    } else if (milter->step == STEP_END) {
        put_macro(out, "i", subject->id);
    }
    if (out->size == start + 6)
        out->size = start; /* none for this one */
    else
        packet_close(out, start);
}

static void put_client(struct buf *out, const struct milter_subject *subject)
{
    char text[INET6_ADDRSTRLEN];
    bool is_v4 = IN6_IS_ADDR_V4MAPPED(&subject->client);
    (void)inet_ntop(is_v4 ? AF_INET : AF_INET6, is_v4 ? (const void *)&subject->client.s6_addr[12] : &subject->client, text, sizeof text);
    put_text(out, subject->client_name);
    buf_append_byte(out, is_v4 ? '4' : '6');
    buf_append(out, slice_make("\0\0", 2)); /* the port is nobody's business */
    put_text(out, slice_of(text));
}

static void put_path(struct buf *out, struct slice address)
{
    buf_append_byte(out, '<');
    buf_append(out, address);
    put_text(out, SLICE(">"));
}

/* Folds go as LF; the blank behind the colon goes only where the filter wants to see it. */
static void put_field(struct milter *milter, const struct header_field *field)
{
    struct slice value = field->value;
    if (!(milter->protocol & LEADING_SPACE) && value.size && value.data[0] == ' ')
        value = slice_from(value, 1);
    if (value.size > MILTER_CHUNK_SIZE - field->name.size - 3)
        value.size = MILTER_CHUNK_SIZE - field->name.size - 3; /* libmilter reads no longer ones */
    put_text(&milter->output, field->name);
    for (size_t i = 0; i < value.size; i++)
        if (value.data[i] != '\r' && value.data[i] != '\0')
            buf_append_byte(&milter->output, value.data[i]);
    buf_append_byte(&milter->output, '\0');
}

static struct slice next_chunk(struct milter *milter)
{
    struct slice rest = slice_from(milter->subject.message, milter->header.body_offset + milter->number);
    return slice_first(rest, rest.size < MILTER_CHUNK_SIZE ? rest.size : MILTER_CHUNK_SIZE);
}

/* Whether the step has something more to say. */
static bool has_more(struct milter *milter)
{
    size_t number = milter->number;
    switch (milter->step) {
    case STEP_RCPT: return number < milter->subject.submission->recipient_count;
    case STEP_HEADER: return number < milter->header.count && milter->header.fields[number].name.size < MILTER_CHUNK_SIZE / 2;
    case STEP_BODY: return next_chunk(milter).size > 0;
    default: return number == 0;
    }
}

static void say(struct milter *milter)
{
    const struct milter_subject *subject = &milter->subject;
    struct buf *out = &milter->output;
    struct slice recipient = milter->step == STEP_RCPT ? subject->submission->recipients[milter->number].address : SLICE("");
    put_macros(milter, recipient);
    size_t start = packet_open(out, rows[milter->step].command);
    size_t said = 1;
    if (milter->step == STEP_NEGOTIATE) {
        put_u32(out, VERSION);
        put_u32(out, ACTIONS);
        put_u32(out, OFFERED);
    } else if (milter->step == STEP_CONNECT) {
        put_client(out, subject);
    } else if (milter->step == STEP_HELO) {
        put_text(out, subject->helo);
    } else if (milter->step == STEP_MAIL) {
        put_path(out, subject->submission->sender);
    } else if (milter->step == STEP_RCPT) {
        put_path(out, recipient);
    } else if (milter->step == STEP_HEADER) {
        put_field(milter, &milter->header.fields[milter->number]);
    } else if (milter->step == STEP_BODY) {
        struct slice chunk = next_chunk(milter);
        buf_append(out, chunk);
        said = chunk.size;
    }
    packet_close(out, start);
    milter->number += said;
}

/* Says all that needs no answer, and the first thing that does. */
static void advance(struct milter *milter)
{
    for (;;) {
        if (!has_more(milter) || (milter->protocol & rows[milter->step].left_out)) {
            milter->step++;
            milter->number = 0;
            continue;
        }
        say(milter);
        if (!(milter->protocol & rows[milter->step].unanswered))
            return;
    }
}

void milter_begin(struct milter *milter, struct arena *arena, const struct milter_subject *subject)
{
    struct header_limits limits = {subject->message.size, subject->message.size}; /* those of the listener were kept */
    *milter = (struct milter){.arena = arena, .subject = *subject};
    if (!header_scan(arena, subject->message, &limits, &milter->header, NULL))
        milter->header = (struct header){.count = 0};
    milter->changes = arena_alloc(arena, MILTER_CHANGES_MAX * sizeof *milter->changes);
    say(milter);
}

/* ---- what is heard ---- */

static void negotiated(struct milter *milter, struct slice data)
{
    uint32_t numbers[3];
    if (data.size < sizeof numbers) {
        fail(milter, "its answer to the negotiation is too short");
        return;
    }
    memcpy(numbers, data.data, sizeof numbers);
    milter->protocol = ntohl(numbers[2]);
    if (ntohl(numbers[0]) < 2 || ntohl(numbers[0]) > VERSION || (milter->protocol & ~(uint32_t)OFFERED)) {
        fail(milter, "it wants a protocol that was not offered");
        return;
    }
    advance(milter);
}

/* M3 */
static const char *clean_reply(struct arena *arena, struct slice text, const char *standard)
{
    struct slice line = slice_cut(&text, '\0');
    line = slice_cut(&line, '\r');
    line = slice_cut(&line, '\n');
    if (line.size < 4 || line.size > 400 || (line.data[0] != '4' && line.data[0] != '5') || line.data[1] < '0' || line.data[1] > '9'
        || line.data[2] < '0' || line.data[2] > '9')
        return standard;
    char *reply = arena_text(arena, line);
    for (size_t i = 0; i < line.size; i++)
        if (reply[i] < ' ' || reply[i] > '~')
            reply[i] = '?';
    reply[3] = ' ';
    bool has_status = line.size > 6 && reply[4] == reply[0] && reply[5] == '.';
    return has_status ? reply : arena_printf(arena, "%.3s %c.7.1 %s%c", reply, reply[0], reply + 4, '\0').data;
}

static void refuse(struct milter *milter, const char *reply)
{
    milter->end = MILTER_REFUSES;
    milter->reply = reply;
}

/* "name NUL value NUL", behind an index where the kind has one. */
static void note_change(struct milter *milter, char kind, struct slice data)
{
    struct milter_change change = {.kind = kind};
    uint32_t index = 0;
    if (kind != 'h') {
        if (data.size < 4) {
            fail(milter, "a change of a field that can't be read");
            return;
        }
        memcpy(&index, data.data, 4);
        change.index = ntohl(index);
        data = slice_from(data, 4);
    }
    change.name = arena_copy(milter->arena, slice_cut(&data, '\0'));
    change.value = arena_copy(milter->arena, slice_cut(&data, '\0'));
    bool is_name = change.name.size > 0;
    for (size_t i = 0; i < change.name.size; i++)
        is_name = is_name && change.name.data[i] > ' ' && change.name.data[i] < 0x7f && change.name.data[i] != ':';
    if (!is_name || milter->change_count == MILTER_CHANGES_MAX)
        fail(milter, "a field without a name, or too many of them");
    else
        milter->changes[milter->change_count++] = change;
}

static void note_hold(struct milter *milter, struct slice data)
{
    char *text = arena_text(milter->arena, slice_cut(&data, '\0'));
    for (char *c = text; *c; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
    if (strlen(text) > 200)
        text[200] = '\0';
    milter->hold = text;
}

/* True if the answer belongs to the end of the body alone. */
static bool modify(struct milter *milter, char answer, struct slice data)
{
    switch (answer) {
    case 'h':
    case 'i':
    case 'm':
        note_change(milter, answer, data);
        return true;
    case 'b':
        milter->is_body_replaced = true;
        buf_append(&milter->body, data);
        return true;
    case 'q':
        note_hold(milter, data);
        return true;
    default:
        return false;
    }
}

static void answered(struct milter *milter, char answer, struct slice data)
{
    if (milter->step == STEP_NEGOTIATE) {
        if (answer == 'O')
            negotiated(milter, data);
        else
            fail(milter, "it does not negotiate");
        return;
    }
    if (milter->step == STEP_END && modify(milter, answer, data))
        return;
    switch (answer) {
    case 'p': /* it is still at work */
        break;
    case 's':
        if (milter->step != STEP_BODY) {
            fail(milter, "an answer that is none here");
            break;
        }
        milter->step = STEP_BODY;
        milter->number = milter->subject.message.size - milter->header.body_offset;
        advance(milter);
        break;
    case 'a':
    case 'c':
        if (milter->step == STEP_END || (answer == 'a' && milter->step != STEP_RCPT))
            milter->end = MILTER_ACCEPTS;
        else
            advance(milter);
        break;
    case 'r': refuse(milter, "550 5.7.1 refused by a filter"); break;
    case 't': refuse(milter, "451 4.7.1 a filter asks to try later"); break;
    case '4': refuse(milter, "421 4.7.0 a filter asks to try later"); break;
    case 'y': refuse(milter, clean_reply(milter->arena, data, "550 5.7.1 refused by a filter")); break;
    case 'd': milter->end = MILTER_DISCARDS; break;
    case '+':
    case '2':
    case '-': fail(milter, "it wants to change the recipients, which was not offered"); break;
    case 'e': fail(milter, "it wants to change the sender, which was not offered"); break;
    default: fail(milter, "an answer that is none here"); break;
    }
}

void milter_feed(struct milter *milter, struct slice bytes)
{
    size_t at = 0;
    buf_append(&milter->input, bytes);
    while (milter->end == MILTER_TALKS && milter->input.size - at >= 5) {
        uint32_t size;
        memcpy(&size, milter->input.data + at, 4);
        size = ntohl(size);
        if (size == 0 || size > MILTER_PACKET_MAX) {
            fail(milter, "a packet of a size that can't be");
            break;
        }
        if (milter->input.size - at - 4 < size)
            break;
        answered(milter, milter->input.data[at + 4], slice_make(milter->input.data + at + 5, size - 1));
        at += 4 + (size_t)size;
    }
    buf_remove_front(&milter->input, at);
}

void milter_finish(struct milter *milter)
{
    buf_finish(&milter->input);
    buf_finish(&milter->output);
    buf_finish(&milter->body);
}
