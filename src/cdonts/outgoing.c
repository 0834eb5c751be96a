#include "cdonts/outgoing.h"

#include "base/utf8.h"
#include "cdonts/system.h"
#include "message/content.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { RECIPIENTS_MAX = 10000, ITEMS_MAX = 10000 };

void outgoing_file_finish(struct outgoing_file *file)
{
    free(file->name);
    free(file->type);
    free(file->id);
    free(file->location);
    free(file->base);
    free(file->bytes);
    *file = (struct outgoing_file){0};
}

void outgoing_finish(struct outgoing *outgoing)
{
    char *texts[] = {outgoing->from, outgoing->to, outgoing->cc, outgoing->bcc, outgoing->subject, outgoing->plain,
                     outgoing->html, outgoing->calendar, outgoing->calendar_method, outgoing->location, outgoing->base,
                     outgoing->pickup};
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        free(texts[i]);
    for (size_t i = 0; i < outgoing->field_count; i++) {
        free(outgoing->fields[i].name);
        free(outgoing->fields[i].value);
    }
    for (size_t i = 0; i < outgoing->file_count; i++)
        outgoing_file_finish(&outgoing->files[i]);
    free(outgoing->fields);
    free(outgoing->files);
    *outgoing = (struct outgoing){0};
}

bool outgoing_add_field(struct outgoing *outgoing, char *taken_name, char *taken_value)
{
    struct outgoing_field *fields = NULL;
    if (taken_name && taken_value && outgoing->field_count < ITEMS_MAX)
        fields = realloc(outgoing->fields, (outgoing->field_count + 1) * sizeof *fields);
    if (!fields) {
        free(taken_name);
        free(taken_value);
        return false;
    }
    outgoing->fields = fields;
    fields[outgoing->field_count++] = (struct outgoing_field){taken_name, taken_value};
    return true;
}

bool outgoing_add_file(struct outgoing *outgoing, struct outgoing_file *taken_file)
{
    struct outgoing_file *files = NULL;
    if (outgoing->file_count < ITEMS_MAX)
        files = realloc(outgoing->files, (outgoing->file_count + 1) * sizeof *files);
    if (!files) {
        outgoing_file_finish(taken_file);
        return false;
    }
    outgoing->files = files;
    files[outgoing->file_count++] = *taken_file;
    *taken_file = (struct outgoing_file){0};
    return true;
}

/* ---- addresses ---- */

struct addresses { struct address_list from, to, cc, bcc; };

static uint32_t read_list(struct arena *arena, const char *text, const char *what, struct address_list *ret_list,
                          struct cdonts_error *error)
{
    struct error reason = {0};
    *ret_list = (struct address_list){0};
    if (!text)
        return CDONTS_OK;
    if (!address_list_parse(arena, slice_of(text), RECIPIENTS_MAX, ret_list, &reason))
        return error_fill(error, CDONTS_E_INVALID_PARAMETER, "%s: %s", what, reason.text);
    if (ret_list->fault_count)
        return error_fill(error, CDONTS_E_INVALID_PARAMETER, "%s: \"%.*s\": %s", what,
                          SLICE_FMT(ret_list->faults[0].text), ret_list->faults[0].reason);
    return CDONTS_OK;
}

/* G4: words as the quoted local part of an address that is completed by the relay. */
static bool name_as_address(struct arena *arena, struct slice words, struct address *ret_address)
{
    words = slice_trim(words);
    if (words.size == 0 || words.size > 60 || slice_find_byte(words, '@') >= 0 || slice_find_byte(words, '<') >= 0
        || slice_find_byte(words, '"') >= 0 || slice_find_byte(words, '\\') >= 0 || slice_find_byte(words, ';') >= 0)
        return false;
    struct slice local = arena_printf(arena, "\"%.*s\"", SLICE_FMT(words));
    *ret_address = (struct address){.text = local, .local = local, .domain = SLICE(""), .display = words,
                                    .is_utf8_local = slice_has_8bit(words)};
    return true;
}

static uint32_t read_from(struct arena *arena, const char *text, struct address_list *ret_list,
                          struct cdonts_error *error)
{
    struct address_list list = {0};
    struct slice from = slice_of(text);
    uint32_t code = read_list(arena, text, "From", &list, error);
    if (code == CDONTS_OK && list.count == 1) {
        *ret_list = list;
        return code;
    }
    list = (struct address_list){.items = arena_alloc(arena, sizeof *list.items), .count = 1};
    if (!name_as_address(arena, from, list.items))
        return code != CDONTS_OK ? code : error_fill(error, CDONTS_E_INVALID_PARAMETER, "From: one address was expected");
    *ret_list = list;
    return CDONTS_OK;
}

static uint32_t read_addresses(struct arena *arena, const struct outgoing *outgoing, struct addresses *ret,
                               struct cdonts_error *error)
{
    const char *from = outgoing->from && *slice_trim(slice_of(outgoing->from)).data ? outgoing->from : NULL;
    if (!from) {
        char *user = system_user();
        from = arena_text(arena, slice_of(user ? user : "postmaster"));
        free(user);
    }
    uint32_t code = read_from(arena, from, &ret->from, error);
    if (code == CDONTS_OK)
        code = read_list(arena, outgoing->to, "To", &ret->to, error);
    if (code == CDONTS_OK)
        code = read_list(arena, outgoing->cc, "Cc", &ret->cc, error);
    if (code == CDONTS_OK)
        code = read_list(arena, outgoing->bcc, "Bcc", &ret->bcc, error);
    if (code == CDONTS_OK && ret->to.count + ret->cc.count + ret->bcc.count == 0)
        return error_fill(error, CDONTS_E_NO_RECIPIENTS, "To, Cc or Bcc was expected");
    return code;
}

static int by_text(const void *a, const void *b)
{
    const struct slice *left = a, *right = b;
    size_t size = left->size < right->size ? left->size : right->size;
    int order = memcmp(left->data, right->data, size);
    return order ? order : (left->size > right->size) - (left->size < right->size);
}

static struct submission_recipient *gather(struct arena *arena, const struct addresses *addresses, size_t *ret_count)
{
    const struct address_list *lists[] = {&addresses->to, &addresses->cc, &addresses->bcc};
    size_t count = 0, kept = 0;
    struct slice *all = arena_alloc(arena, (addresses->to.count + addresses->cc.count + addresses->bcc.count) * sizeof *all);
    for (size_t i = 0; i < COUNT_OF(lists); i++)
        for (size_t k = 0; k < lists[i]->count; k++)
            all[count++] = lists[i]->items[k].text;
    qsort(all, count, sizeof *all, by_text);
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || !slice_equals(all[kept - 1], all[i]))
            all[kept++] = all[i];
    struct submission_recipient *recipients = arena_alloc(arena, (kept + 1) * sizeof *recipients);
    for (size_t i = 0; i < kept; i++)
        recipients[i].address = all[i];
    *ret_count = kept;
    return recipients;
}

/* ---- the message ---- */

static void put_deliver_at(int64_t time_ms, struct buf *out)
{
    time_t seconds = (time_t)(time_ms / 1000);
    struct tm tm;
    char text[40];
    (void)gmtime_r(&seconds, &tm); /* in range: DeliverAt is bounded */
    (void)strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    buf_printf(out, "X-Deliver-At: %s\r\n", text);
}

static void fill(struct arena *arena, const struct outgoing *outgoing, const struct addresses *addresses,
                 struct compose *compose)
{
    struct compose_file *files = arena_alloc(arena, (outgoing->file_count + 1) * sizeof *files);
    struct compose_field *fields = arena_alloc(arena, (outgoing->field_count + 1) * sizeof *fields);
    for (size_t i = 0; i < outgoing->file_count; i++) {
        const struct outgoing_file *file = &outgoing->files[i];
        files[i] = (struct compose_file){file->kind, slice_of(file->name), slice_make(file->bytes, file->size),
                                         slice_of(file->type), slice_of(file->id), slice_of(file->location),
                                         slice_of(file->base)};
    }
    for (size_t i = 0; i < outgoing->field_count; i++)
        fields[i] = (struct compose_field){slice_of(outgoing->fields[i].name), slice_of(outgoing->fields[i].value)};
    *compose = (struct compose){
        .from = &addresses->from, .to = &addresses->to, .cc = &addresses->cc, .subject = slice_of(outgoing->subject),
        .fields = fields, .field_count = outgoing->field_count, .files = files, .file_count = outgoing->file_count,
        .plain = slice_of(outgoing->plain), .html = slice_of(outgoing->html), .calendar = slice_of(outgoing->calendar),
        .calendar_method = slice_of(outgoing->calendar_method), .location = slice_of(outgoing->location),
        .base = slice_of(outgoing->base), .importance = outgoing->importance, .time_ms = system_time_ms()};
}

static uint32_t make(struct arena *arena, const struct outgoing *outgoing, const struct addresses *addresses,
                     struct buf *out, struct cdonts_error *error)
{
    struct compose compose;
    struct error reason = {0};
    fill(arena, outgoing, addresses, &compose);
    if (!system_random(compose.random, sizeof compose.random))
        return error_fill(error, CDONTS_E_CALL_FAILED, "the system gives no random numbers");
    size_t capacity = compose_size_max(&compose);
    void *probe = malloc(capacity);
    if (!probe)
        return error_fill(error, CDONTS_E_NOT_ENOUGH_MEMORY, "no memory for the message");
    free(probe);
    (void)buf_reserve(out, capacity);
    if (outgoing->deliver_at_ms)
        put_deliver_at(outgoing->deliver_at_ms, out);
    if (!compose_message(arena, &compose, out, &reason))
        return error_fill(error, CDONTS_E_INVALID_PARAMETER, "%s", reason.text);
    return CDONTS_OK;
}

static uint32_t submit(struct arena *arena, const struct outgoing *outgoing, const struct addresses *addresses,
                       const struct buf *message, char ret_name[PICKUP_WRITER_NAME_SIZE], struct cdonts_error *error)
{
    struct submission submission = {.sender = addresses->from.items[0].text, .message = buf_slice(message)};
    struct error reason = {0};
    submission.recipients = gather(arena, addresses, &submission.recipient_count);
    char *folder = outgoing->pickup ? strdup(outgoing->pickup) : system_folder_path(SYSTEM_PICKUP);
    bool is_done = folder && system_submit(folder, &submission, ret_name, &reason);
    free(folder);
    return is_done ? CDONTS_OK : error_fill(error, CDONTS_E_DISK_ERROR, "Pickup: %s", reason.text);
}

uint32_t outgoing_submit(const struct outgoing *outgoing, enum outgoing_way way, struct buf *out,
                         char ret_name[PICKUP_WRITER_NAME_SIZE], struct cdonts_error *error)
{
    struct arena arena = {0};
    struct addresses addresses = {0};
    uint32_t code = read_addresses(&arena, outgoing, &addresses, error);
    if (code == CDONTS_OK)
        code = make(&arena, outgoing, &addresses, out, error);
    if (code == CDONTS_OK && way == OUTGOING_SEND)
        code = submit(&arena, outgoing, &addresses, out, ret_name, error);
    arena_finish(&arena);
    return code;
}
