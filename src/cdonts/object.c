#include "cdonts/object.h"

#include "cdonts/state.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

static int member_index(const struct class *class, const char *name)
{
    for (int i = 0; class->members[i].name; i++)
        if (strcasecmp(class->members[i].name, name) == 0)
            return i;
    return -1;
}

static int member_count(const struct class *class)
{
    int count = 0;
    while (class->members[count].name)
        count++;
    return count;
}

uint32_t cdonts_invoke(struct cdonts_object *object, int member, unsigned access, const struct cdonts_value *arguments,
                       size_t count, struct cdonts_value *ret, struct cdonts_error *error)
{
    struct cdonts_value padded[CALL_ARGUMENTS_MAX] = {0}, ignored = {0};
    struct call call = {.arguments = padded, .ret = ret ? ret : &ignored, .error = error};
    const struct class *class = object->class;
    if (ret)
        *ret = (struct cdonts_value){0};
    if (member < 0 || member > member_count(class))
        return error_fill(error, CDONTS_E_UNKNOWN_NAME, "%s has no such member", class->name);
    const struct member *row = &class->members[member == CDONTS_MEMBER_DEFAULT ? class->default_member : member - 1];
    unsigned possible = row->access & access;
    call.access = possible & CDONTS_PUT ? CDONTS_PUT : possible & CDONTS_GET ? CDONTS_GET : possible & CDONTS_CALL;
    if (call.access == 0)
        return error_fill(error, CDONTS_E_NO_SUPPORT, "%s.%s can't be %s", class->name, row->name,
                          access & CDONTS_PUT ? "set" : access & CDONTS_GET ? "read" : "called");
    size_t value = call.access == CDONTS_PUT ? 1 : 0;
    if (count < row->count_min + value || count > row->count_max + value)
        return error_fill(error, CDONTS_E_INVALID_PARAMETER, "%s.%s: %d to %d arguments were expected",
                          class->name, row->name, row->count_min, row->count_max);
    for (size_t i = 0; i < count; i++)
        padded[i] = arguments[i];
    call.count = count;
    call.tag = row->tag;
    uint32_t code = row->run(object, &call);
    if (!ret)
        cdonts_value_clear(&ignored);
    return code;
}

int cdonts_member_find(const struct cdonts_object *object, const char *name)
{
    int index = member_index(object->class, name);
    return index < 0 ? -1 : index + 1;
}

const char *cdonts_member_name(const struct cdonts_object *object, int member)
{
    if (member == CDONTS_MEMBER_DEFAULT)
        return object->class->members[object->class->default_member].name;
    return member > 0 && member <= member_count(object->class) ? object->class->members[member - 1].name : NULL;
}

const char *cdonts_class_name(const struct cdonts_object *object)
{
    return object->class->name;
}

/* ---- lifetime ---- */

void *object_create(size_t size, const struct class *class, struct session_state *state)
{
    struct cdonts_object *object = calloc(1, size);
    if (!object)
        return NULL;
    atomic_init(&object->references, 1);
    object->class = class;
    object->state = state ? state_retain(state) : NULL;
    return object;
}

struct cdonts_object *cdonts_retain(struct cdonts_object *object)
{
    atomic_fetch_add(&object->references, 1);
    return object;
}

void cdonts_release(struct cdonts_object *object)
{
    if (!object || atomic_fetch_sub(&object->references, 1) != 1)
        return;
    struct session_state *state = object->state;
    object->class->destroy(object);
    state_release(state);
}

struct cdonts_object *cdonts_create(const char *class_name, struct cdonts_error *error)
{
    if (strncasecmp(class_name, "CDONTS.", 7) == 0)
        class_name += 7;
    struct cdonts_object *object = NULL;
    if (strcasecmp(class_name, "NewMail") == 0)
        object = newmail_create();
    else if (strcasecmp(class_name, "Session") == 0)
        object = session_create();
    else
        (void)error_fill(error, CDONTS_E_NOT_FOUND, "no class \"%s\": NewMail or Session was expected", class_name);
    return object;
}

void cdonts_free(void *memory)
{
    free(memory);
}

void cdonts_value_clear(struct cdonts_value *value)
{
    free(value->text);
    cdonts_release(value->object);
    *value = (struct cdonts_value){0};
}

/* ---- errors ---- */

static uint32_t fill(struct cdonts_error *error, uint32_t code, const char *format, va_list args)
{
    if (!error)
        return code;
    error->code = code;
    (void)vsnprintf(error->text, sizeof error->text, format, args); /* cut is fine */
    for (char *c = error->text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    return code;
}

uint32_t error_fill(struct cdonts_error *error, uint32_t code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)fill(error, code, format, args);
    va_end(args);
    return code;
}

uint32_t call_fail(struct call *call, uint32_t code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)fill(call->error, code, format, args);
    va_end(args);
    return code;
}

/* ---- arguments and results ---- */

bool call_has(const struct call *call, size_t index)
{
    return index < call->count && call->arguments[index].kind != CDONTS_EMPTY;
}

bool call_number(struct call *call, size_t index, int64_t number_default, int64_t *ret_number)
{
    const struct cdonts_value *value = &call->arguments[index];
    char *end = NULL;
    *ret_number = number_default;
    if (!call_has(call, index))
        return true;
    if (value->kind == CDONTS_STRING) {
        *ret_number = strtoll(value->text, &end, 10);
        if (value->size && *end == '\0')
            return true;
    } else if (value->kind == CDONTS_NUMBER || value->kind == CDONTS_TIME) {
        *ret_number = value->number;
        return true;
    }
    (void)call_fail(call, CDONTS_E_INVALID_PARAMETER, "a number was expected");
    return false;
}

bool call_text(struct call *call, size_t index, char **ret_text)
{
    const struct cdonts_value *value = &call->arguments[index];
    char digits[32];
    *ret_text = NULL;
    if (!call_has(call, index))
        return true;
    if (value->kind == CDONTS_NUMBER) {
        (void)snprintf(digits, sizeof digits, "%lld", (long long)value->number);
        *ret_text = strdup(digits);
    } else if (value->kind == CDONTS_STRING || value->kind == CDONTS_BYTES) {
        if (memchr(value->text ? value->text : "", 0, value->size)) {
            (void)call_fail(call, CDONTS_E_INVALID_PARAMETER, "text without NUL was expected");
            return false;
        }
        *ret_text = calloc(1, value->size + 1);
        if (*ret_text && value->size)
            memcpy(*ret_text, value->text, value->size);
    } else {
        (void)call_fail(call, CDONTS_E_INVALID_PARAMETER, "text was expected");
        return false;
    }
    if (!*ret_text)
        (void)call_fail(call, CDONTS_E_NOT_ENOUGH_MEMORY, "out of memory");
    return *ret_text != NULL;
}

uint32_t call_give_text(struct call *call, const char *text)
{
    char *copy = strdup(text ? text : "");
    if (!copy)
        return call_fail(call, CDONTS_E_NOT_ENOUGH_MEMORY, "out of memory");
    *call->ret = (struct cdonts_value){.kind = CDONTS_STRING, .text = copy, .size = strlen(copy)};
    return CDONTS_OK;
}

uint32_t call_give_number(struct call *call, int64_t number)
{
    *call->ret = (struct cdonts_value){.kind = CDONTS_NUMBER, .number = number};
    return CDONTS_OK;
}

uint32_t call_give_object(struct call *call, struct cdonts_object *taken_object)
{
    *call->ret = (struct cdonts_value){.kind = CDONTS_REFERENCE, .object = taken_object};
    return CDONTS_OK;
}

uint32_t call_give_time(struct call *call, int64_t time_ms)
{
    *call->ret = (struct cdonts_value){.kind = time_ms ? CDONTS_TIME : CDONTS_EMPTY, .number = time_ms};
    return CDONTS_OK;
}
