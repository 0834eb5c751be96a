/* The C functions for single members: each one call through the table. */
#include "cdonts/object.h"
#include "cdonts/system.h"

#include <stdio.h>
#include <stdlib.h>

static struct cdonts_value text_value(const char *text)
{
    if (!text)
        return (struct cdonts_value){0};
    return (struct cdonts_value){.kind = CDONTS_STRING, .text = (char *)(uintptr_t)text, .size = strlen(text)};
}

static struct cdonts_value number_value(int64_t number)
{
    return (struct cdonts_value){.kind = CDONTS_NUMBER, .number = number};
}

static uint32_t run(struct cdonts_object *object, const char *member, unsigned access, struct cdonts_value *values,
                    size_t count, struct cdonts_value *ret, struct cdonts_error *error)
{
    int number = cdonts_member_find(object, member);
    if (error)
        *error = (struct cdonts_error){0};
    if (number < 0)
        return error_fill(error, CDONTS_E_UNKNOWN_NAME, "%s has no member %s", object->class->name, member);
    return cdonts_invoke(object, number, access, values, count, ret, error);
}

uint32_t cdonts_put_text(struct cdonts_object *object, const char *member, const char *text, struct cdonts_error *error)
{
    struct cdonts_value value = text_value(text);
    return run(object, member, CDONTS_PUT, &value, 1, NULL, error);
}

uint32_t cdonts_put_number(struct cdonts_object *object, const char *member, int64_t number, struct cdonts_error *error)
{
    struct cdonts_value value = number_value(number);
    return run(object, member, CDONTS_PUT, &value, 1, NULL, error);
}

char *cdonts_get_text(struct cdonts_object *object, const char *member, struct cdonts_error *error)
{
    struct cdonts_value value = {0};
    if (run(object, member, CDONTS_GET, NULL, 0, &value, error) != CDONTS_OK)
        return NULL;
    char *text = value.kind == CDONTS_STRING ? value.text : NULL;
    if (text)
        value.text = NULL;
    else
        (void)error_fill(error, CDONTS_E_INVALID_TYPE, "%s is no text", member);
    cdonts_value_clear(&value);
    return text;
}

int64_t cdonts_get_number(struct cdonts_object *object, const char *member, struct cdonts_error *error)
{
    struct cdonts_value value = {0};
    if (run(object, member, CDONTS_GET, NULL, 0, &value, error) != CDONTS_OK)
        return 0;
    int64_t number = value.number;
    cdonts_value_clear(&value);
    return number;
}

struct cdonts_object *cdonts_get_object(struct cdonts_object *object, const char *member, struct cdonts_error *error)
{
    struct cdonts_value value = {0};
    if (run(object, member, CDONTS_GET | CDONTS_CALL, NULL, 0, &value, error) != CDONTS_OK)
        return NULL;
    struct cdonts_object *result = value.object;
    value.object = NULL;
    cdonts_value_clear(&value);
    return result;
}

uint32_t cdonts_set_header(struct cdonts_object *mail, const char *header, const char *value, struct cdonts_error *error)
{
    struct cdonts_value values[] = {text_value(header), text_value(value)};
    return run(mail, "Value", CDONTS_PUT, values, 2, NULL, error);
}

uint32_t cdonts_attach_file(struct cdonts_object *mail, const char *path, const char *shown_name, int encoding,
                            struct cdonts_error *error)
{
    struct cdonts_value values[] = {text_value(path), text_value(shown_name), number_value(encoding)};
    return run(mail, "AttachFile", CDONTS_CALL, values, 3, NULL, error);
}

uint32_t cdonts_attach_url(struct cdonts_object *mail, const char *path, const char *content_location,
                           const char *content_base, int encoding, struct cdonts_error *error)
{
    struct cdonts_value values[] = {text_value(path), text_value(content_location), text_value(content_base),
                                    number_value(encoding)};
    return run(mail, "AttachURL", CDONTS_CALL, values, 4, NULL, error);
}

uint32_t cdonts_attach_bytes(struct cdonts_object *mail, const void *bytes, size_t size, const char *shown_name,
                             const char *content_id, struct cdonts_error *error)
{
    struct cdonts_value source = {.kind = CDONTS_BYTES, .text = (char *)(uintptr_t)bytes, .size = size};
    if (content_id) {
        struct cdonts_value values[] = {source, text_value(content_id), text_value(shown_name)};
        return run(mail, "AttachInline", CDONTS_CALL, values, 3, NULL, error);
    }
    struct cdonts_value values[] = {source, text_value(shown_name), number_value(CDONTS_BASE64)};
    return run(mail, "AttachFile", CDONTS_CALL, values, 3, NULL, error);
}

uint32_t cdonts_send(struct cdonts_object *mail, struct cdonts_error *error)
{
    return run(mail, "Send", CDONTS_CALL, NULL, 0, NULL, error);
}

/* ---- the outcome ---- */

/* Receipts are written by base/json.c: no blanks, each key once a recipient. */
static bool read_receipt(struct slice json, uint32_t *ret_code, struct cdonts_error *error)
{
    if (slice_find(json, SLICE("\"done\":true")) < 0)
        return false;
    static const struct slice key = {"\"state\":\"", 9};
    *ret_code = CDONTS_OK;
    for (ptrdiff_t at; (at = slice_find(json, key)) >= 0;) {
        json = slice_from(json, (size_t)at + key.size);
        struct slice rest = json;
        struct slice state = slice_cut(&rest, '"');
        if (!slice_equals(state, SLICE("delivered")))
            *ret_code = error_fill(error, CDONTS_E_CALL_FAILED, "a recipient's state is %.*s", SLICE_FMT(state));
    }
    return true;
}

uint32_t cdonts_wait(const char *pickup_name, const char *receipts_folder, int timeout_ms, struct cdonts_error *error)
{
    int64_t until_ms = system_time_ms() + timeout_ms;
    uint32_t code = CDONTS_E_TIMEOUT;
    char *folder = receipts_folder ? strdup(receipts_folder) : system_folder_path(SYSTEM_RECEIPTS);
    struct buf path = {0};
    if (!folder)
        return error_fill(error, CDONTS_E_NOT_ENOUGH_MEMORY, "out of memory");
    buf_printf(&path, "%s%c%s.json", folder, system_separator(), pickup_name);
    for (;;) {
        struct buf json = {0};
        bool is_done = system_read(buf_text(&path), 16 << 20, &json, NULL) && read_receipt(buf_slice(&json), &code, error);
        buf_finish(&json);
        if (is_done || system_time_ms() >= until_ms)
            break;
        system_sleep_ms(100);
    }
    free(folder);
    buf_finish(&path);
    return code == CDONTS_E_TIMEOUT ? error_fill(error, code, "no outcome yet of %s", pickup_name) : code;
}
