/* Message and AddressEntry: a message that is being written, or one of the Inbox. */
#include "cdonts/state.h"
#include "cdonts/system.h"

#include "base/utf8.h"

#include <stdio.h>
#include <stdlib.h>

struct message {
    struct cdonts_object object;
    bool is_read; /* from the Inbox */
    bool is_gone; /* sent or deleted */
    char *subject, *text, *html, *base, *location, *id;
    int importance, format;
    char *path;   /* of the Inbox's file */
    char *sender_name, *sender_address;
    int64_t size, sent_ms, received_ms;
    struct cdonts_object *recipients, *attachments;
    char pickup_name[PICKUP_WRITER_NAME_SIZE];
};

enum { TAG_SUBJECT, TAG_TEXT, TAG_HTML, TAG_BASE, TAG_LOCATION, TAG_ID, TAG_PICKUP_NAME };
enum { TAG_RECIPIENTS, TAG_ATTACHMENTS };
enum { TAG_SIZE, TAG_SENT, TAG_RECEIVED };

static struct message *message_of(struct cdonts_object *object)
{
    CHECK(object->class == &class_message);
    return (struct message *)object;
}

static struct message *create(struct session_state *state, bool is_read)
{
    struct message *message = object_create(sizeof *message, &class_message, state);
    if (!message)
        return NULL;
    message->is_read = is_read;
    message->importance = CDONTS_NORMAL;
    message->format = state->message_format;
    message->recipients = recipients_create(state, is_read);
    message->attachments = attachments_create(state, is_read);
    if (message->recipients && message->attachments) {
        message->recipients->parent = message->attachments->parent = &message->object;
        return message;
    }
    cdonts_release(&message->object);
    return NULL;
}

struct cdonts_object *message_create(struct session_state *state)
{
    struct message *message = create(state, false);
    return message ? &message->object : NULL;
}

static bool fill(struct message *message, const struct read_message *read)
{
    bool is_done = true;
    message->subject = slice_copy(read->subject);
    message->text = slice_copy(read->plain);
    message->html = slice_copy(read->html);
    message->base = slice_copy(read->base);
    message->location = slice_copy(read->location);
    message->id = slice_copy(read->id);
    message->importance = read->importance;
    message->sent_ms = read->date_ms;
    for (size_t i = 0; i < read->person_count && is_done; i++) {
        const struct read_person *person = &read->people[i];
        char *name = slice_copy(person->name), *address = slice_copy(person->address);
        if (person->role == READ_FROM && !message->sender_address) {
            message->sender_name = name;
            message->sender_address = address;
            continue;
        }
        if (person->role == READ_TO || person->role == READ_CC)
            is_done = recipients_add(message->recipients, name, address, person->role == READ_TO ? CDONTS_TO : CDONTS_CC);
        free(name);
        free(address);
    }
    for (size_t i = 0; i < read->file_count && is_done; i++)
        is_done = attachments_add(message->attachments, &read->files[i]);
    return is_done;
}

struct cdonts_object *message_create_read(struct session_state *state, const char *path, struct buf *taken_raw)
{
    struct message *message = create(state, true);
    struct arena arena = {0};
    struct read_message read;
    bool is_done = message && read_message(&arena, buf_slice(taken_raw), &read, NULL) && fill(message, &read)
                   && (message->path = strdup(path));
    if (is_done) {
        message->size = (int64_t)taken_raw->size;
        message->received_ms = system_modified_ms(path);
    }
    buf_finish(taken_raw);
    arena_finish(&arena);
    if (is_done)
        return &message->object;
    if (message)
        cdonts_release(&message->object);
    return NULL;
}

static void destroy(struct cdonts_object *object)
{
    struct message *message = message_of(object);
    char *texts[] = {message->subject, message->text, message->html, message->base, message->location, message->id,
                     message->path, message->sender_name, message->sender_address};
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        free(texts[i]);
    if (message->recipients)
        message->recipients->parent = NULL;
    if (message->attachments)
        message->attachments->parent = NULL;
    cdonts_release(message->recipients);
    cdonts_release(message->attachments);
    free(message);
}

static uint32_t check_alive(const struct message *message, struct call *call)
{
    if (message->is_gone)
        return call_fail(call, message->is_read ? CDONTS_E_OBJECT_DELETED : CDONTS_E_INVALID_OBJECT,
                         message->is_read ? "the message was deleted" : "the message was sent or deleted");
    if (call->access == CDONTS_PUT && message->is_read)
        return call_fail(call, CDONTS_E_NO_ACCESS, "a message of the Inbox can't be changed");
    return CDONTS_OK;
}

static uint32_t text_member(struct cdonts_object *object, struct call *call)
{
    struct message *message = message_of(object);
    char **places[] = {&message->subject, &message->text, &message->html, &message->base, &message->location, &message->id};
    char *text;
    if (call->tag == TAG_PICKUP_NAME)
        return call_give_text(call, message->pickup_name);
    uint32_t code = check_alive(message, call);
    if (code != CDONTS_OK)
        return code;
    if (call->access == CDONTS_GET)
        return call_give_text(call, *places[call->tag]);
    if (!call_text(call, 0, &text))
        return CDONTS_E_INVALID_PARAMETER;
    bool is_body = call->tag == TAG_TEXT || call->tag == TAG_HTML;
    struct slice bytes = slice_of(text ? text : "");
    if (is_body ? !utf8_is_valid(bytes) : !compose_is_clean(bytes)) {
        free(text);
        return call_fail(call, CDONTS_E_INVALID_PARAMETER, "a control character, or no well-formed UTF-8");
    }
    free(*places[call->tag]);
    *places[call->tag] = text;
    return CDONTS_OK;
}

static uint32_t number_member(struct cdonts_object *object, struct call *call)
{
    struct message *message = message_of(object);
    int *place = call->tag ? &message->format : &message->importance;
    int64_t number;
    uint32_t code = check_alive(message, call);
    if (code != CDONTS_OK)
        return code;
    if (call->access == CDONTS_GET)
        return call_give_number(call, *place);
    if (!call_number(call, 0, 0, &number) || number < 0 || number > (call->tag ? 1 : 2))
        return call_fail(call, CDONTS_E_INVALID_PARAMETER, "%s was expected", call->tag ? "0 or 1" : "0, 1 or 2");
    *place = (int)number;
    return CDONTS_OK;
}

static uint32_t facts_member(struct cdonts_object *object, struct call *call)
{
    struct message *message = message_of(object);
    uint32_t code = check_alive(message, call);
    if (code != CDONTS_OK)
        return code;
    if (call->tag == TAG_SIZE)
        return call_give_number(call, message->size);
    return call_give_time(call, call->tag == TAG_SENT ? message->sent_ms : message->received_ms);
}

/* Recipients and Attachments, or with an index one of theirs. */
static uint32_t children_member(struct cdonts_object *object, struct call *call)
{
    struct message *message = message_of(object);
    struct cdonts_object *child = call->tag == TAG_RECIPIENTS ? message->recipients : message->attachments;
    uint32_t code = check_alive(message, call);
    if (code != CDONTS_OK)
        return code;
    if (call_has(call, 0))
        return cdonts_invoke(child, CDONTS_MEMBER_DEFAULT, CDONTS_GET, call->arguments, 1, call->ret, call->error);
    return call_give_object(call, cdonts_retain(child));
}

static uint32_t sender_member(struct cdonts_object *object, struct call *call)
{
    struct message *message = message_of(object);
    uint32_t code = check_alive(message, call);
    if (code != CDONTS_OK)
        return code;
    const char *name = message->is_read ? message->sender_name : object->state->name;
    const char *address = message->is_read ? message->sender_address : object->state->address;
    struct cdonts_object *entry = address_entry_create(object->state, name, address);
    return entry ? call_give_object(call, entry) : call_fail(call, CDONTS_E_NOT_ENOUGH_MEMORY, "out of memory");
}

static uint32_t delete(struct cdonts_object *object, struct call *call)
{
    struct message *message = message_of(object);
    struct error reason = {0};
    uint32_t code = check_alive(message, call);
    if (code != CDONTS_OK)
        return code;
    if (message->is_read && !system_remove(message->path, &reason))
        return call_fail(call, CDONTS_E_NO_ACCESS, "%s", reason.text);
    message->is_gone = true;
    if (object->parent)
        messages_remove(object->parent, object);
    return CDONTS_OK;
}

/* ---- Send ---- */

static char *sender_line(const struct session_state *state)
{
    struct buf line = {0};
    buf_append_byte(&line, '"');
    for (const char *c = state->name; *c; c++) {
        if (*c == '"' || *c == '\\')
            buf_append_byte(&line, '\\');
        buf_append_byte(&line, *c);
    }
    buf_printf(&line, "\" <%s>", state->address);
    return buf_take(&line);
}

static bool gather(const struct message *message, struct outgoing *outgoing)
{
    struct buf lists[3] = {0};
    *outgoing = (struct outgoing){.importance = message->importance, .from = sender_line(message->object.state)};
    for (int type = CDONTS_TO; type <= CDONTS_BCC; type++)
        recipients_list(message->recipients, type, &lists[type - 1]);
    outgoing->to = buf_take(&lists[0]);
    outgoing->cc = buf_take(&lists[1]);
    outgoing->bcc = buf_take(&lists[2]);
    const struct { const char *from; char **to; } copies[] = {
        {message->subject, &outgoing->subject}, {message->text, &outgoing->plain}, {message->html, &outgoing->html},
        {message->base, &outgoing->base}, {message->location, &outgoing->location},
        {message->object.state->pickup, &outgoing->pickup}};
    for (size_t i = 0; i < COUNT_OF(copies); i++)
        if (copies[i].from && !(*copies[i].to = strdup(copies[i].from)))
            return false;
    return attachments_put(message->attachments, outgoing);
}

static uint32_t send(struct cdonts_object *object, struct call *call)
{
    struct message *message = message_of(object);
    struct outgoing outgoing = {0};
    struct buf bytes = {0};
    uint32_t code = check_alive(message, call);
    if (code != CDONTS_OK)
        return code;
    if (message->is_read)
        return call_fail(call, CDONTS_E_NO_ACCESS, "a message of the Inbox can't be sent");
    if (!object->state->is_logged_on)
        return call_fail(call, CDONTS_E_NOT_INITIALIZED, "LogonSMTP was expected first");
    if (gather(message, &outgoing))
        code = outgoing_submit(&outgoing, OUTGOING_SEND, &bytes, message->pickup_name, call->error);
    else
        code = call_fail(call, CDONTS_E_NOT_ENOUGH_MEMORY, "out of memory");
    outgoing_finish(&outgoing);
    buf_finish(&bytes);
    if (code != CDONTS_OK)
        return code;
    message->is_gone = true;
    if (object->parent)
        messages_remove(object->parent, object);
    return CDONTS_OK;
}

static const struct member members[] = {
    {"Subject", CDONTS_GET | CDONTS_PUT, 0, 0, text_member, TAG_SUBJECT},
    {"Text", CDONTS_GET | CDONTS_PUT, 0, 0, text_member, TAG_TEXT},
    {"HTMLText", CDONTS_GET | CDONTS_PUT, 0, 0, text_member, TAG_HTML},
    {"Importance", CDONTS_GET | CDONTS_PUT, 0, 0, number_member, 0},
    {"MessageFormat", CDONTS_PUT, 0, 0, number_member, 1},
    {"Sender", CDONTS_GET, 0, 0, sender_member, 0},
    {"Recipients", CDONTS_GET, 0, 1, children_member, TAG_RECIPIENTS},
    {"Attachments", CDONTS_GET, 0, 1, children_member, TAG_ATTACHMENTS},
    {"Size", CDONTS_GET, 0, 0, facts_member, TAG_SIZE},
    {"TimeSent", CDONTS_GET, 0, 0, facts_member, TAG_SENT},
    {"TimeReceived", CDONTS_GET, 0, 0, facts_member, TAG_RECEIVED},
    {"ContentBase", CDONTS_GET | CDONTS_PUT, 0, 0, text_member, TAG_BASE},
    {"ContentLocation", CDONTS_GET | CDONTS_PUT, 0, 0, text_member, TAG_LOCATION},
    {"ContentID", CDONTS_GET, 0, 0, text_member, TAG_ID},
    {"Delete", CDONTS_CALL, 0, 0, delete, 0},
    {"Send", CDONTS_CALL, 0, 0, send, 0},
    {"PickupName", CDONTS_GET, 0, 0, text_member, TAG_PICKUP_NAME},
    COMMON_MEMBERS,
    {0},
};
const struct class class_message = {"Message", members, 0, destroy};

/* ---- AddressEntry ---- */

struct address_entry { struct cdonts_object object; char *name, *address; };

static void entry_destroy(struct cdonts_object *object)
{
    struct address_entry *entry = (struct address_entry *)object;
    free(entry->name);
    free(entry->address);
    free(entry);
}

struct cdonts_object *address_entry_create(struct session_state *state, const char *name, const char *address)
{
    struct address_entry *entry = object_create(sizeof *entry, &class_address_entry, state);
    if (!entry)
        return NULL;
    entry->address = strdup(address ? address : "");
    entry->name = strdup(name && *name ? name : entry->address ? entry->address : "");
    return &entry->object;
}

static uint32_t entry_get(struct cdonts_object *object, struct call *call)
{
    const struct address_entry *entry = (struct address_entry *)object;
    return call_give_text(call, call->tag == 0 ? entry->name : call->tag == 1 ? entry->address : "SMTP");
}

static const struct member entry_members[] = {
    {"Name", CDONTS_GET, 0, 0, entry_get, 0},
    {"Address", CDONTS_GET, 0, 0, entry_get, 1},
    {"Type", CDONTS_GET, 0, 0, entry_get, 2},
    COMMON_MEMBERS,
    {0},
};
const struct class class_address_entry = {"AddressEntry", entry_members, 0, entry_destroy};
