/* Recipients and Attachments: the two collections of a message, and what they hold. */
#include "cdonts/state.h"
#include "cdonts/system.h"

#include <stdio.h>
#include <stdlib.h>

enum { ITEMS_MAX = 10000, FILE_SIZE_MAX = 1 << 30 };

struct collection {
    struct cdonts_object object;
    bool is_read_only;
    struct cdonts_object **items;
    size_t count;
};

struct recipient { struct cdonts_object object; char *name, *address; int type; };

struct attachment {
    struct cdonts_object object;
    char *name, *base, *location, *id, *type_name;
    int type;
    char *bytes;
    size_t size;
};

/* ---- collections ---- */

static void collection_destroy(struct cdonts_object *object)
{
    struct collection *list = (struct collection *)object;
    for (size_t i = 0; i < list->count; i++) {
        list->items[i]->parent = NULL;
        cdonts_release(list->items[i]);
    }
    free(list->items);
    free(list);
}

static struct cdonts_object *collection_create(const struct class *class, struct session_state *state, bool is_read_only)
{
    struct collection *list = object_create(sizeof *list, class, state);
    if (list)
        list->is_read_only = is_read_only;
    return list ? &list->object : NULL;
}

struct cdonts_object *recipients_create(struct session_state *state, bool is_read_only)
{
    return collection_create(&class_recipients, state, is_read_only);
}

struct cdonts_object *attachments_create(struct session_state *state, bool is_read_only)
{
    return collection_create(&class_attachments, state, is_read_only);
}

static bool append(struct collection *list, struct cdonts_object *taken_item)
{
    struct cdonts_object **items = NULL;
    if (taken_item && list->count < ITEMS_MAX)
        items = realloc(list->items, (list->count + 1) * sizeof *items);
    if (!items) {
        cdonts_release(taken_item);
        return false;
    }
    list->items = items;
    items[list->count++] = taken_item;
    taken_item->parent = &list->object;
    return true;
}

static uint32_t collection_count(struct cdonts_object *object, struct call *call)
{
    return call_give_number(call, (int64_t)((struct collection *)object)->count);
}

static uint32_t collection_item(struct cdonts_object *object, struct call *call)
{
    struct collection *list = (struct collection *)object;
    int64_t index;
    if (!call_number(call, 0, 0, &index) || index < 1 || index > (int64_t)list->count)
        return call_fail(call, CDONTS_E_NOT_FOUND, "Item: an index from 1 to Count was expected");
    return call_give_object(call, cdonts_retain(list->items[index - 1]));
}

static uint32_t check_writable(const struct cdonts_object *object, struct call *call)
{
    const struct collection *list = (const struct collection *)object;
    return list && list->is_read_only ? call_fail(call, CDONTS_E_NO_ACCESS, "a message of the Inbox can't be changed")
                                      : CDONTS_OK;
}

static uint32_t collection_delete(struct cdonts_object *object, struct call *call)
{
    struct collection *list = (struct collection *)object;
    uint32_t code = check_writable(object, call);
    while (code == CDONTS_OK && list->count) {
        struct cdonts_object *item = list->items[--list->count];
        item->parent = NULL;
        cdonts_release(item);
    }
    return code;
}

/* A member's own Delete. */
static uint32_t item_delete(struct cdonts_object *object, struct call *call)
{
    struct collection *list = (struct collection *)object->parent;
    uint32_t code = check_writable(object->parent, call);
    if (code != CDONTS_OK || !list)
        return list ? code : call_fail(call, CDONTS_E_OBJECT_DELETED, "it was deleted before");
    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i] != object)
            continue;
        memmove(&list->items[i], &list->items[i + 1], (list->count - i - 1) * sizeof *list->items);
        list->count--;
        object->parent = NULL;
        cdonts_release(object);
        break;
    }
    return CDONTS_OK;
}

/* A clean text into its place. */
static uint32_t take_text(struct call *call, size_t index, char **place)
{
    char *text;
    if (!call_text(call, index, &text))
        return CDONTS_E_INVALID_PARAMETER;
    if (!text)
        return CDONTS_OK;
    if (!compose_is_clean(slice_of(text))) {
        free(text);
        return call_fail(call, CDONTS_E_INVALID_PARAMETER, "a control character, or no well-formed UTF-8");
    }
    free(*place);
    *place = text;
    return CDONTS_OK;
}

/* ---- Recipient ---- */

static void recipient_destroy(struct cdonts_object *object)
{
    struct recipient *recipient = (struct recipient *)object;
    free(recipient->name);
    free(recipient->address);
    free(recipient);
}

static struct recipient *recipient_create(struct session_state *state, int type)
{
    struct recipient *recipient = object_create(sizeof *recipient, &class_recipient, state);
    if (recipient)
        recipient->type = type;
    return recipient;
}

bool recipients_add(struct cdonts_object *recipients, const char *name, const char *address, int type)
{
    struct recipient *recipient = recipient_create(recipients->state, type);
    if (!recipient)
        return false;
    recipient->name = strdup(name);
    recipient->address = strdup(address);
    return append((struct collection *)recipients, &recipient->object);
}

/* Add([Name][, Address][, Type]): a name alone is an address. */
static uint32_t recipients_add_call(struct cdonts_object *object, struct call *call)
{
    int64_t type;
    uint32_t code = check_writable(object, call);
    if (code != CDONTS_OK)
        return code;
    if (!call_number(call, 2, CDONTS_TO, &type) || type < CDONTS_TO || type > CDONTS_BCC)
        return call_fail(call, CDONTS_E_INVALID_PARAMETER, "Type: 1 (To), 2 (Cc) or 3 (Bcc) was expected");
    struct recipient *recipient = recipient_create(object->state, (int)type);
    if (!recipient)
        return call_fail(call, CDONTS_E_NOT_ENOUGH_MEMORY, "out of memory");
    code = take_text(call, 0, &recipient->name);
    if (code == CDONTS_OK)
        code = take_text(call, 1, &recipient->address);
    if (code == CDONTS_OK && append((struct collection *)object, cdonts_retain(&recipient->object)))
        return call_give_object(call, &recipient->object);
    cdonts_release(&recipient->object);
    return code != CDONTS_OK ? code : call_fail(call, CDONTS_E_NOT_ENOUGH_MEMORY, "out of memory");
}

static uint32_t recipient_member(struct cdonts_object *object, struct call *call)
{
    struct recipient *recipient = (struct recipient *)object;
    char **place = call->tag == 0 ? &recipient->name : &recipient->address;
    int64_t type;
    if (call->access == CDONTS_GET)
        return call->tag == 2 ? call_give_number(call, recipient->type) : call_give_text(call, *place);
    uint32_t code = check_writable(object->parent, call);
    if (code != CDONTS_OK)
        return code;
    if (call->tag < 2)
        return take_text(call, 0, place);
    if (!call_number(call, 0, CDONTS_TO, &type) || type < CDONTS_TO || type > CDONTS_BCC)
        return call_fail(call, CDONTS_E_INVALID_PARAMETER, "Type: 1 (To), 2 (Cc) or 3 (Bcc) was expected");
    recipient->type = (int)type;
    return CDONTS_OK;
}

void recipients_list(const struct cdonts_object *object, int type, struct buf *out)
{
    const struct collection *list = (const struct collection *)object;
    for (size_t i = 0; i < list->count; i++) {
        const struct recipient *recipient = (const struct recipient *)list->items[i];
        const char *name = recipient->name ? recipient->name : "";
        if (recipient->type != type)
            continue;
        if (out->size)
            buf_append_text(out, ", ");
        if (!recipient->address || !*recipient->address) {
            buf_append_text(out, name);
            continue;
        }
        buf_append_byte(out, '"');
        for (const char *c = name; *c; c++) {
            if (*c == '"' || *c == '\\')
                buf_append_byte(out, '\\');
            buf_append_byte(out, *c);
        }
        buf_printf(out, "\" <%s>", recipient->address);
    }
}

static const struct member recipients_members[] = {
    {"Item", CDONTS_GET | CDONTS_CALL, 1, 1, collection_item, 0},
    {"Count", CDONTS_GET, 0, 0, collection_count, 0},
    {"Add", CDONTS_CALL, 0, 3, recipients_add_call, 0},
    {"Delete", CDONTS_CALL, 0, 0, collection_delete, 0},
    COMMON_MEMBERS,
    {0},
};
const struct class class_recipients = {"Recipients", recipients_members, 0, collection_destroy};

static const struct member recipient_members[] = {
    {"Name", CDONTS_GET | CDONTS_PUT, 0, 0, recipient_member, 0},
    {"Address", CDONTS_GET | CDONTS_PUT, 0, 0, recipient_member, 1},
    {"Type", CDONTS_GET | CDONTS_PUT, 0, 0, recipient_member, 2},
    {"Delete", CDONTS_CALL, 0, 0, item_delete, 0},
    COMMON_MEMBERS,
    {0},
};
const struct class class_recipient = {"Recipient", recipient_members, 0, recipient_destroy};

/* ---- Attachment ---- */

enum { TAG_NAME, TAG_BASE, TAG_LOCATION, TAG_ID };

static void attachment_destroy(struct cdonts_object *object)
{
    struct attachment *attachment = (struct attachment *)object;
    char *texts[] = {attachment->name, attachment->base, attachment->location, attachment->id, attachment->type_name,
                     attachment->bytes};
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        free(texts[i]);
    free(attachment);
}

bool attachments_add(struct cdonts_object *attachments, const struct read_file *file)
{
    struct attachment *attachment = object_create(sizeof *attachment, &class_attachment, attachments->state);
    if (!attachment)
        return false;
    attachment->name = slice_copy(file->name);
    attachment->base = slice_copy(file->base);
    attachment->location = slice_copy(file->location);
    attachment->id = slice_copy(file->id);
    attachment->type_name = slice_copy(file->type);
    attachment->type = file->is_message ? CDONTS_EMBEDDED_MESSAGE : CDONTS_FILE_DATA;
    attachment->bytes = slice_copy(file->bytes);
    attachment->size = file->bytes.size;
    return append((struct collection *)attachments, &attachment->object);
}

static uint32_t read_file_into(struct attachment *attachment, const char *path, struct call *call)
{
    struct buf bytes = {0};
    struct error reason = {0};
    if (!system_read(path, FILE_SIZE_MAX, &bytes, &reason)) {
        buf_finish(&bytes);
        return call_fail(call, CDONTS_E_NOT_FOUND, "%s", reason.text);
    }
    if (!attachment->name) {
        const char *base = path;
        for (const char *c = path; *c; c++)
            if (*c == '/' || (system_separator() == '\\' && (*c == '\\' || *c == ':')))
                base = c + 1;
        attachment->name = strdup(base);
    }
    free(attachment->bytes);
    attachment->size = bytes.size;
    attachment->bytes = buf_take(&bytes);
    return CDONTS_OK;
}

static uint32_t take_source(struct attachment *attachment, struct call *call, size_t index)
{
    const struct cdonts_value *value = &call->arguments[index];
    char *path;
    if (value->kind == CDONTS_BYTES) {
        char *bytes = malloc(value->size + 1);
        if (!bytes)
            return call_fail(call, CDONTS_E_NOT_ENOUGH_MEMORY, "out of memory");
        memcpy(bytes, value->text ? value->text : "", value->size);
        free(attachment->bytes);
        attachment->bytes = bytes;
        attachment->size = value->size;
        return CDONTS_OK;
    }
    if (!call_text(call, index, &path))
        return CDONTS_E_INVALID_PARAMETER;
    uint32_t code = path ? read_file_into(attachment, path, call) : CDONTS_OK;
    free(path);
    return code;
}

/* Add([Name][, Type][, Source][, ContentLocation][, ContentBase]) */
static uint32_t attachments_add_call(struct cdonts_object *object, struct call *call)
{
    int64_t type;
    uint32_t code = check_writable(object, call);
    if (code != CDONTS_OK)
        return code;
    if (!call_number(call, 1, CDONTS_FILE_DATA, &type) || (type != CDONTS_FILE_DATA && type != CDONTS_EMBEDDED_MESSAGE))
        return call_fail(call, CDONTS_E_INVALID_PARAMETER, "Type: 1 (file) or 4 (message) was expected");
    struct attachment *attachment = object_create(sizeof *attachment, &class_attachment, object->state);
    if (!attachment)
        return call_fail(call, CDONTS_E_NOT_ENOUGH_MEMORY, "out of memory");
    attachment->type = (int)type;
    code = take_text(call, 0, &attachment->name);
    if (code == CDONTS_OK)
        code = take_text(call, 3, &attachment->location);
    if (code == CDONTS_OK)
        code = take_text(call, 4, &attachment->base);
    if (code == CDONTS_OK && call_has(call, 2))
        code = take_source(attachment, call, 2);
    if (code == CDONTS_OK && append((struct collection *)object, cdonts_retain(&attachment->object)))
        return call_give_object(call, &attachment->object);
    cdonts_release(&attachment->object);
    return code != CDONTS_OK ? code : call_fail(call, CDONTS_E_NOT_ENOUGH_MEMORY, "out of memory");
}

static uint32_t attachment_text(struct cdonts_object *object, struct call *call)
{
    struct attachment *attachment = (struct attachment *)object;
    char **places[] = {&attachment->name, &attachment->base, &attachment->location, &attachment->id};
    if (call->access == CDONTS_GET)
        return call_give_text(call, *places[call->tag]);
    uint32_t code = check_writable(object->parent, call);
    return code == CDONTS_OK ? take_text(call, 0, places[call->tag]) : code;
}

static uint32_t attachment_type(struct cdonts_object *object, struct call *call)
{
    struct attachment *attachment = (struct attachment *)object;
    int64_t type;
    if (call->access == CDONTS_GET)
        return call_give_number(call, attachment->type);
    uint32_t code = check_writable(object->parent, call);
    if (code != CDONTS_OK)
        return code;
    if (!call_number(call, 0, 0, &type) || (type != CDONTS_FILE_DATA && type != CDONTS_EMBEDDED_MESSAGE))
        return call_fail(call, CDONTS_E_INVALID_PARAMETER, "Type: 1 (file) or 4 (message) was expected");
    attachment->type = (int)type;
    return CDONTS_OK;
}

static uint32_t attachment_source(struct cdonts_object *object, struct call *call)
{
    struct attachment *attachment = (struct attachment *)object;
    if (call->access == CDONTS_PUT) {
        uint32_t code = check_writable(object->parent, call);
        return code == CDONTS_OK ? take_source(attachment, call, 0) : code;
    }
    char *copy = malloc(attachment->size + 1);
    if (!copy)
        return call_fail(call, CDONTS_E_NOT_ENOUGH_MEMORY, "out of memory");
    if (attachment->size)
        memcpy(copy, attachment->bytes, attachment->size);
    copy[attachment->size] = '\0';
    *call->ret = (struct cdonts_value){.kind = CDONTS_BYTES, .text = copy, .size = attachment->size};
    return CDONTS_OK;
}

enum { FILE_READ, FILE_WRITE };

static uint32_t attachment_file(struct cdonts_object *object, struct call *call)
{
    struct attachment *attachment = (struct attachment *)object;
    struct error reason = {0};
    char *path = NULL;
    uint32_t code = call->tag == FILE_READ ? check_writable(object->parent, call) : CDONTS_OK;
    if (code == CDONTS_OK && (!call_text(call, 0, &path) || !path))
        code = call_fail(call, CDONTS_E_INVALID_PARAMETER, "a file's path was expected");
    else if (code == CDONTS_OK && call->tag == FILE_READ)
        code = read_file_into(attachment, path, call);
    else if (code == CDONTS_OK && !system_write(path, slice_make(attachment->bytes, attachment->size), &reason))
        code = call_fail(call, CDONTS_E_DISK_ERROR, "%s", reason.text);
    free(path);
    return code;
}

static char *copy_text(const char *text)
{
    return text && *text ? strdup(text) : NULL;
}

/* A file that HTML refers to by its location is inline, an embedded message a message, all others are attached. */
bool attachments_put(const struct cdonts_object *object, struct outgoing *outgoing)
{
    const struct collection *list = (const struct collection *)object;
    for (size_t i = 0; i < list->count; i++) {
        const struct attachment *attachment = (const struct attachment *)list->items[i];
        bool is_message = attachment->type == CDONTS_EMBEDDED_MESSAGE;
        bool is_inline = !is_message && attachment->location && *attachment->location;
        struct outgoing_file file = {
            .kind = is_message ? COMPOSE_MESSAGE : is_inline ? COMPOSE_INLINE : COMPOSE_ATTACHED,
            .name = copy_text(attachment->name), .location = copy_text(attachment->location),
            .base = copy_text(attachment->base), .bytes = malloc(attachment->size + 1), .size = attachment->size};
        if (file.bytes && attachment->size)
            memcpy(file.bytes, attachment->bytes, attachment->size);
        if (!file.bytes || !outgoing_add_file(outgoing, &file)) {
            outgoing_file_finish(&file);
            return false;
        }
    }
    return true;
}

static const struct member attachments_members[] = {
    {"Item", CDONTS_GET | CDONTS_CALL, 1, 1, collection_item, 0},
    {"Count", CDONTS_GET, 0, 0, collection_count, 0},
    {"Add", CDONTS_CALL, 0, 5, attachments_add_call, 0},
    {"Delete", CDONTS_CALL, 0, 0, collection_delete, 0},
    COMMON_MEMBERS,
    {0},
};
const struct class class_attachments = {"Attachments", attachments_members, 0, collection_destroy};

static const struct member attachment_members[] = {
    {"Name", CDONTS_GET | CDONTS_PUT, 0, 0, attachment_text, TAG_NAME},
    {"Type", CDONTS_GET | CDONTS_PUT, 0, 0, attachment_type, 0},
    {"Source", CDONTS_GET | CDONTS_PUT, 0, 0, attachment_source, 0},
    {"ContentBase", CDONTS_GET, 0, 0, attachment_text, TAG_BASE},
    {"ContentLocation", CDONTS_GET, 0, 0, attachment_text, TAG_LOCATION},
    {"ContentID", CDONTS_GET, 0, 0, attachment_text, TAG_ID},
    {"Delete", CDONTS_CALL, 0, 0, item_delete, 0},
    {"ReadFromFile", CDONTS_CALL, 1, 1, attachment_file, FILE_READ},
    {"WriteToFile", CDONTS_CALL, 1, 1, attachment_file, FILE_WRITE},
    COMMON_MEMBERS,
    {0},
};
const struct class class_attachment = {"Attachment", attachment_members, 0, attachment_destroy};
