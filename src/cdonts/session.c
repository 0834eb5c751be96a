/* Session, Folder and Messages: who reads, and the Drop folder's files that are theirs. */
#include "cdonts/state.h"
#include "cdonts/system.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { MESSAGE_SIZE_MAX = 1 << 30, MESSAGES_MAX = 100000 };
enum { CLASS_SESSION = 0, CLASS_FOLDER = 2, CLASS_MESSAGE = 3, CLASS_RECIPIENT = 4, CLASS_ATTACHMENT = 5,
       CLASS_ADDRESS_ENTRY = 8, CLASS_MESSAGES = 16, CLASS_RECIPIENTS = 17, CLASS_ATTACHMENTS = 18 };

/* ---- what all share ---- */

struct session_state *state_retain(struct session_state *state)
{
    atomic_fetch_add(&state->references, 1);
    return state;
}

void state_release(struct session_state *state)
{
    if (!state || atomic_fetch_sub(&state->references, 1) != 1)
        return;
    free(state->name);
    free(state->address);
    free(state->pickup);
    free(state->drop);
    free(state);
}

static int class_number(const struct class *class)
{
    static const struct { const struct class *class; int number; } numbers[] = {
        {&class_session, CLASS_SESSION}, {&class_folder, CLASS_FOLDER}, {&class_message, CLASS_MESSAGE},
        {&class_recipient, CLASS_RECIPIENT}, {&class_attachment, CLASS_ATTACHMENT},
        {&class_address_entry, CLASS_ADDRESS_ENTRY}, {&class_messages, CLASS_MESSAGES},
        {&class_recipients, CLASS_RECIPIENTS}, {&class_attachments, CLASS_ATTACHMENTS}};
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        if (numbers[i].class == class)
            return numbers[i].number;
    CHECK(!"a class without number");
    return -1;
}

uint32_t common_get(struct cdonts_object *object, struct call *call)
{
    struct cdonts_object *session = object->state->session;
    switch (call->tag) {
    case COMMON_APPLICATION:
        return call_give_text(call, "Collaboration Data Objects for NTS 1.2");
    case COMMON_CLASS:
        return call_give_number(call, class_number(object->class));
    case COMMON_PARENT:
        return call_give_object(call, object->parent ? cdonts_retain(object->parent) : session ? cdonts_retain(session) : NULL);
    default:
        return call_give_object(call, session ? cdonts_retain(session) : NULL);
    }
}

/* ---- Session ---- */

struct session {
    struct cdonts_object object;
    struct cdonts_object *folders[2];
};

enum { TAG_NAME, TAG_VERSION, TAG_INBOX, TAG_OUTBOX, TAG_PICKUP, TAG_DROP };

static struct session *session_of(struct cdonts_object *object)
{
    CHECK(object->class == &class_session);
    return (struct session *)object;
}

struct cdonts_object *session_create(void)
{
    struct session_state *state = calloc(1, sizeof *state);
    if (!state)
        return NULL;
    atomic_init(&state->references, 1);
    struct session *session = object_create(sizeof *session, &class_session, state);
    state->session = session ? &session->object : NULL;
    state_release(state);
    return session ? &session->object : NULL;
}

static void forget_folders(struct session *session)
{
    for (size_t i = 0; i < COUNT_OF(session->folders); i++) {
        cdonts_release(session->folders[i]);
        session->folders[i] = NULL;
    }
}

static void session_destroy(struct cdonts_object *object)
{
    forget_folders(session_of(object));
    object->state->session = NULL;
    free(object);
}

static uint32_t check_logon(const struct cdonts_object *object, struct call *call)
{
    return object->state->is_logged_on ? CDONTS_OK
                                       : call_fail(call, CDONTS_E_NOT_INITIALIZED, "LogonSMTP was expected first");
}

static uint32_t logon(struct cdonts_object *object, struct call *call)
{
    struct session_state *state = object->state;
    char *name = NULL, *address = NULL;
    if (!call_text(call, 0, &name) || !call_text(call, 1, &address) || !name || !address
        || !compose_is_clean(slice_of(name)) || !compose_is_clean(slice_of(address)) || !*address) {
        free(name);
        free(address);
        return call_fail(call, CDONTS_E_LOGON_FAILED, "LogonSMTP: a name and an address were expected");
    }
    free(state->name);
    free(state->address);
    state->name = name;
    state->address = address;
    state->is_logged_on = true;
    return CDONTS_OK;
}

static uint32_t logoff(struct cdonts_object *object, struct call *call)
{
    uint32_t code = check_logon(object, call);
    forget_folders(session_of(object));
    object->state->is_logged_on = false;
    return code;
}

static uint32_t give_folder(struct cdonts_object *object, struct call *call, int kind)
{
    struct session *session = session_of(object);
    struct cdonts_object **place = &session->folders[kind - 1];
    if (!*place)
        *place = folder_create(object->state, kind);
    return *place ? call_give_object(call, cdonts_retain(*place))
                  : call_fail(call, CDONTS_E_NOT_ENOUGH_MEMORY, "out of memory");
}

static uint32_t session_get(struct cdonts_object *object, struct call *call)
{
    uint32_t code = check_logon(object, call);
    if (code != CDONTS_OK)
        return code;
    if (call->tag == TAG_NAME)
        return call_give_text(call, object->state->name);
    if (call->tag == TAG_VERSION)
        return call_give_text(call, "1.2");
    return give_folder(object, call, call->tag == TAG_INBOX ? CDONTS_INBOX : CDONTS_OUTBOX);
}

static uint32_t get_default_folder(struct cdonts_object *object, struct call *call)
{
    int64_t kind;
    uint32_t code = check_logon(object, call);
    if (code != CDONTS_OK)
        return code;
    if (!call_number(call, 0, 0, &kind) || (kind != CDONTS_INBOX && kind != CDONTS_OUTBOX))
        return call_fail(call, CDONTS_E_INVALID_PARAMETER, "1 (Inbox) or 2 (Outbox) was expected");
    return give_folder(object, call, (int)kind);
}

static uint32_t session_message_format(struct cdonts_object *object, struct call *call)
{
    int64_t number;
    uint32_t code = check_logon(object, call);
    if (code != CDONTS_OK)
        return code;
    if (call->access == CDONTS_GET)
        return call_give_number(call, object->state->message_format);
    if (!call_number(call, 0, 0, &number) || number < 0 || number > 1)
        return call_fail(call, CDONTS_E_INVALID_PARAMETER, "0 (MIME) or 1 (text) was expected");
    object->state->message_format = (int)number;
    return CDONTS_OK;
}

static uint32_t put_folder_path(struct cdonts_object *object, struct call *call)
{
    char *text, **place = call->tag == TAG_PICKUP ? &object->state->pickup : &object->state->drop;
    if (!call_text(call, 0, &text))
        return CDONTS_E_INVALID_PARAMETER;
    free(*place);
    *place = text;
    return CDONTS_OK;
}

static uint32_t session_set_locale(struct cdonts_object *object, struct call *call)
{
    int64_t page;
    (void)object;
    return call_number(call, 0, 0, &page) && page > 0 && page < 65536
               ? CDONTS_OK : call_fail(call, CDONTS_E_INVALID_PARAMETER, "a code page was expected");
}

static const struct member session_members[] = {
    {"Name", CDONTS_GET, 0, 0, session_get, TAG_NAME},
    {"Version", CDONTS_GET, 0, 0, session_get, TAG_VERSION},
    {"Inbox", CDONTS_GET, 0, 0, session_get, TAG_INBOX},
    {"Outbox", CDONTS_GET, 0, 0, session_get, TAG_OUTBOX},
    {"MessageFormat", CDONTS_GET | CDONTS_PUT, 0, 0, session_message_format, 0},
    {"LogonSMTP", CDONTS_CALL, 2, 2, logon, 0},
    {"Logoff", CDONTS_CALL, 0, 0, logoff, 0},
    {"GetDefaultFolder", CDONTS_CALL, 1, 1, get_default_folder, 0},
    {"SetLocaleIDs", CDONTS_CALL, 1, 1, session_set_locale, 0},
    {"PickupFolder", CDONTS_PUT, 0, 0, put_folder_path, TAG_PICKUP},
    {"DropFolder", CDONTS_PUT, 0, 0, put_folder_path, TAG_DROP},
    COMMON_MEMBERS,
    {0},
};
const struct class class_session = {"Session", session_members, 0, session_destroy};

/* ---- Folder ---- */

struct folder {
    struct cdonts_object object;
    int kind;
    struct cdonts_object *messages; /* made when asked for: GetFirst and GetNext go on in one list */
};

struct cdonts_object *folder_create(struct session_state *state, int kind)
{
    struct folder *folder = object_create(sizeof *folder, &class_folder, state);
    if (folder)
        folder->kind = kind;
    return folder ? &folder->object : NULL;
}

static void folder_destroy(struct cdonts_object *object)
{
    struct folder *folder = (struct folder *)object;
    if (folder->messages)
        folder->messages->parent = NULL;
    cdonts_release(folder->messages);
    free(folder);
}

static uint32_t folder_name(struct cdonts_object *object, struct call *call)
{
    return call_give_text(call, ((struct folder *)object)->kind == CDONTS_INBOX ? "Inbox" : "Outbox");
}

static uint32_t folder_messages(struct cdonts_object *object, struct call *call)
{
    struct folder *folder = (struct folder *)object;
    uint32_t code = check_logon(object, call);
    if (code != CDONTS_OK)
        return code;
    if (!folder->messages && (folder->messages = messages_create(object->state, folder->kind == CDONTS_INBOX)))
        folder->messages->parent = object;
    return folder->messages ? call_give_object(call, cdonts_retain(folder->messages))
                            : call_fail(call, CDONTS_E_DISK_ERROR, "the Drop folder can't be read");
}

static const struct member folder_members[] = {
    {"Messages", CDONTS_GET, 0, 0, folder_messages, 0},
    {"Name", CDONTS_GET, 0, 0, folder_name, 0},
    COMMON_MEMBERS,
    {0},
};
const struct class class_folder = {"Folder", folder_members, 0, folder_destroy};

/* ---- Messages ---- */

struct messages {
    struct cdonts_object object;
    bool is_inbox;
    struct cdonts_object **items;
    size_t count;
    ptrdiff_t at; /* of GetNext and GetPrevious */
};

static struct messages *messages_of(struct cdonts_object *object)
{
    CHECK(object->class == &class_messages);
    return (struct messages *)object;
}

static void messages_destroy(struct cdonts_object *object)
{
    struct messages *messages = messages_of(object);
    for (size_t i = 0; i < messages->count; i++) {
        messages->items[i]->parent = NULL;
        cdonts_release(messages->items[i]);
    }
    free(messages->items);
    free(messages);
}

static bool append(struct messages *messages, struct cdonts_object *taken_message)
{
    struct cdonts_object **items = realloc(messages->items, (messages->count + 1) * sizeof *items);
    if (!items || !taken_message) {
        if (items)
            messages->items = items;
        cdonts_release(taken_message);
        return false;
    }
    messages->items = items;
    items[messages->count++] = taken_message;
    taken_message->parent = &messages->object;
    return true;
}

static bool is_for(const struct read_message *message, struct slice address)
{
    bool has_receiver = false, is_receiver = false, is_named = false;
    for (size_t i = 0; i < message->person_count; i++) {
        const struct read_person *person = &message->people[i];
        bool is_same = slice_equals_nocase(person->address, address);
        has_receiver = has_receiver || person->role == READ_RECEIVER;
        is_receiver = is_receiver || (is_same && person->role == READ_RECEIVER);
        is_named = is_named || (is_same && (person->role == READ_TO || person->role == READ_CC));
    }
    return has_receiver ? is_receiver : is_named;
}

static void load(struct messages *messages, const char *folder, const char *name)
{
    struct session_state *state = messages->object.state;
    struct buf path = {0}, raw = {0};
    struct arena arena = {0};
    struct read_message message;
    buf_printf(&path, "%s%c%s", folder, system_separator(), name);
    if (system_read(buf_text(&path), MESSAGE_SIZE_MAX, &raw, NULL)
        && read_message(&arena, buf_slice(&raw), &message, NULL) && is_for(&message, slice_of(state->address)))
        (void)append(messages, message_create_read(state, buf_text(&path), &raw)); /* no memory: it is for the next look */
    arena_finish(&arena);
    buf_finish(&raw);
    buf_finish(&path);
}

struct names { char **items; size_t count; };

static bool on_name(void *arg, const char *name)
{
    struct names *names = arg;
    if (name[0] == '.' || !slice_ends_nocase(slice_of(name), SLICE(".eml")))
        return true;
    char **items = realloc(names->items, (names->count + 1) * sizeof *items);
    if (!items)
        return false;
    names->items = items;
    if ((items[names->count] = strdup(name)))
        names->count++;
    return names->count < MESSAGES_MAX;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool load_all(struct messages *messages)
{
    struct session_state *state = messages->object.state;
    struct names names = {0};
    char *folder = state->drop ? strdup(state->drop) : system_folder_path(SYSTEM_DROP);
    bool is_done = folder && system_list(folder, on_name, &names, NULL);
    if (names.count)
        qsort(names.items, names.count, sizeof *names.items, by_name);
    for (size_t i = 0; i < names.count; i++) {
        load(messages, folder, names.items[i]);
        free(names.items[i]);
    }
    free(names.items);
    free(folder);
    return is_done;
}

struct cdonts_object *messages_create(struct session_state *state, bool is_inbox)
{
    struct messages *messages = object_create(sizeof *messages, &class_messages, state);
    if (!messages)
        return NULL;
    messages->is_inbox = is_inbox;
    messages->at = -1;
    if (is_inbox && !load_all(messages)) {
        cdonts_release(&messages->object);
        return NULL;
    }
    return &messages->object;
}

void messages_remove(struct cdonts_object *object, struct cdonts_object *message)
{
    struct messages *messages = messages_of(object);
    for (size_t i = 0; i < messages->count; i++) {
        if (messages->items[i] != message)
            continue;
        memmove(&messages->items[i], &messages->items[i + 1], (messages->count - i - 1) * sizeof *messages->items);
        messages->count--;
        if (messages->at >= (ptrdiff_t)i)
            messages->at--;
        message->parent = NULL;
        cdonts_release(message);
        return;
    }
}

static uint32_t messages_count(struct cdonts_object *object, struct call *call)
{
    struct messages *messages = messages_of(object);
    return call_give_number(call, messages->is_inbox ? (int64_t)messages->count : 0);
}

static uint32_t give_at(struct messages *messages, struct call *call, ptrdiff_t at)
{
    bool is_there = at >= 0 && at < (ptrdiff_t)messages->count && messages->is_inbox;
    messages->at = at < -1 ? -1 : at > (ptrdiff_t)messages->count ? (ptrdiff_t)messages->count : at;
    return call_give_object(call, is_there ? cdonts_retain(messages->items[at]) : NULL);
}

static uint32_t messages_item(struct cdonts_object *object, struct call *call)
{
    struct messages *messages = messages_of(object);
    int64_t index;
    if (!call_number(call, 0, 0, &index) || index < 1 || index > (int64_t)messages->count || !messages->is_inbox)
        return call_fail(call, CDONTS_E_NOT_FOUND, "Item: an index from 1 to Count was expected");
    return call_give_object(call, cdonts_retain(messages->items[index - 1]));
}

enum { STEP_FIRST, STEP_NEXT, STEP_LAST, STEP_PREVIOUS };

static uint32_t messages_step(struct cdonts_object *object, struct call *call)
{
    struct messages *messages = messages_of(object);
    ptrdiff_t at = call->tag == STEP_FIRST  ? 0
                   : call->tag == STEP_NEXT ? messages->at + 1
                   : call->tag == STEP_LAST ? (ptrdiff_t)messages->count - 1
                                            : messages->at - 1;
    return give_at(messages, call, at);
}

/* Add([Subject][, Text][, Importance]) */
static uint32_t messages_add(struct cdonts_object *object, struct call *call)
{
    static const char *const names[] = {"Subject", "Text", "Importance"};
    struct messages *messages = messages_of(object);
    if (messages->is_inbox)
        return call_fail(call, CDONTS_E_NO_ACCESS, "nothing can be added to the Inbox");
    struct cdonts_object *message = message_create(object->state);
    uint32_t code = message ? CDONTS_OK : call_fail(call, CDONTS_E_NOT_ENOUGH_MEMORY, "out of memory");
    for (size_t i = 0; i < COUNT_OF(names) && code == CDONTS_OK; i++)
        if (call_has(call, i))
            code = cdonts_invoke(message, cdonts_member_find(message, names[i]), CDONTS_PUT, &call->arguments[i], 1, NULL,
                                 call->error);
    if (code == CDONTS_OK && append(messages, cdonts_retain(message)))
        return call_give_object(call, message);
    cdonts_release(message);
    return code != CDONTS_OK ? code : call_fail(call, CDONTS_E_NOT_ENOUGH_MEMORY, "out of memory");
}

static uint32_t messages_delete(struct cdonts_object *object, struct call *call)
{
    struct messages *messages = messages_of(object);
    uint32_t code = CDONTS_OK;
    while (messages->count && code == CDONTS_OK) {
        struct cdonts_object *last = cdonts_retain(messages->items[messages->count - 1]);
        code = cdonts_invoke(last, cdonts_member_find(last, "Delete"), CDONTS_CALL, NULL, 0, NULL, call->error);
        cdonts_release(last);
    }
    return code;
}

static const struct member messages_members[] = {
    {"Item", CDONTS_GET | CDONTS_CALL, 1, 1, messages_item, 0},
    {"Count", CDONTS_GET, 0, 0, messages_count, 0},
    {"Add", CDONTS_CALL, 0, 3, messages_add, 0},
    {"Delete", CDONTS_CALL, 0, 0, messages_delete, 0},
    {"GetFirst", CDONTS_CALL, 0, 0, messages_step, STEP_FIRST},
    {"GetNext", CDONTS_CALL, 0, 0, messages_step, STEP_NEXT},
    {"GetLast", CDONTS_CALL, 0, 0, messages_step, STEP_LAST},
    {"GetPrevious", CDONTS_CALL, 0, 0, messages_step, STEP_PREVIOUS},
    COMMON_MEMBERS,
    {0},
};
const struct class class_messages = {"Messages", messages_members, 0, messages_destroy};
