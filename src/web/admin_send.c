/* POST /v1/messages: a message as RFC 5322 octets (message/rfc822; ?sender= and ?recipient=a,b name the envelope) or as JSON
 * fields. 202 when it is durably in Pickup. */
#include "web/admin_private.h"

#include "base/base64.h"
#include "base/hash.h"
#include "base/mem.h"
#include "message/address.h"
#include "os/clock.h"
#include "pickup/pickup_writer.h"
#include "web/form_mail.h"

#include <stdlib.h>

enum { KEYS_MAX = 10000, KEY_SIZE_MAX = 200, RECIPIENTS_MAX = 1000, FILES_MAX = 50 };

struct sent { char *key; char name[PICKUP_WRITER_NAME_SIZE]; UT_hash_handle hh; }; /* name "": under way */

/* ---- once for each key ---- */

enum claim { CLAIM_NEW, CLAIM_SENT, CLAIM_UNDER_WAY };

static enum claim claim_key(struct admin *admin, struct slice key, char ret_name[PICKUP_WRITER_NAME_SIZE])
{
    struct sent *found;
    enum claim claim = CLAIM_NEW;
    pthread_mutex_lock(&admin->mutex);
    HASH_FIND(hh, admin->sent, key.data, key.size, found);
    if (found) {
        memcpy(ret_name, found->name, PICKUP_WRITER_NAME_SIZE);
        claim = found->name[0] ? CLAIM_SENT : CLAIM_UNDER_WAY;
    } else {
        if (HASH_COUNT(admin->sent) >= KEYS_MAX) { /* the oldest goes */
            struct sent *oldest = admin->sent;
            HASH_DEL(admin->sent, oldest);
            free(oldest->key);
            free(oldest);
        }
        found = mem_alloc(sizeof *found);
        found->key = slice_copy(key);
        HASH_ADD_KEYPTR(hh, admin->sent, found->key, key.size, found);
    }
    pthread_mutex_unlock(&admin->mutex);
    return claim;
}

static void finish_key(struct admin *admin, struct slice key, const char *name)
{
    struct sent *found;
    pthread_mutex_lock(&admin->mutex);
    HASH_FIND(hh, admin->sent, key.data, key.size, found);
    if (found && name) {
        memcpy(found->name, name, PICKUP_WRITER_NAME_SIZE);
    } else if (found) {
        HASH_DEL(admin->sent, found);
        free(found->key);
        free(found);
    }
    pthread_mutex_unlock(&admin->mutex);
}

void admin_forget_sent(struct admin *admin)
{
    struct sent *one, *next;
    HASH_ITER(hh, admin->sent, one, next) {
        HASH_DEL(admin->sent, one);
        free(one->key);
        free(one);
    }
}

/* ---- reading fields ---- */

struct sending {
    struct arena *arena;
    const struct config *config;
    struct submission_recipient recipients[RECIPIENTS_MAX];
    size_t recipient_count;
    struct slice sender;
    struct slice once_key; /* the relay remembers it over a restart of this process */
    struct address to[RECIPIENTS_MAX], cc[RECIPIENTS_MAX];
    struct compose_file files[FILES_MAX];
    struct letter letter;
};

/* `shown` gets them too, unless it is NULL; it has room for all. */
static bool add_recipients(struct sending *sending, struct slice text, struct address_list *shown, struct error *error)
{
    struct address_list list;
    if (!address_list_parse(sending->arena, letter_one_line(sending->arena, text), RECIPIENTS_MAX, &list, error))
        return false;
    if (list.fault_count)
        return error_set(error, "\"%.*s\": %s", SLICE_FMT(list.faults[0].text), list.faults[0].reason);
    for (size_t i = 0; i < list.count; i++) {
        if (sending->recipient_count == RECIPIENTS_MAX)
            return error_set(error, "more than %d recipients", RECIPIENTS_MAX);
        address_qualify(sending->arena, slice_of(sending->config->default_domain), &list.items[i]);
        sending->recipients[sending->recipient_count++].address = list.items[i].text;
        if (shown)
            shown->items[shown->count++] = list.items[i];
    }
    return true;
}

/* "a@b, c@d" or ["a@b", "c@d"] */
static bool read_list(struct sending *sending, const json_t *value, struct address_list *shown, struct error *error)
{
    if (json_is_string(value))
        return add_recipients(sending, slice_make(json_string_value(value), json_string_length(value)), shown, error);
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *one = json_array_get(value, i);
        if (!json_is_string(one))
            return error_set(error, "an address is no text");
        if (!add_recipients(sending, slice_make(json_string_value(one), json_string_length(one)), shown, error))
            return false;
    }
    return true;
}

static bool read_files(struct sending *sending, const json_t *list, struct error *error)
{
    static const struct admin_field known[] = {{"name", ADMIN_TEXT}, {"type", ADMIN_TEXT}, {"content", ADMIN_TEXT}};
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i);
        if (!admin_check_fields(one, known, COUNT_OF(known), error))
            return error_prefix(error, "attachments");
        const char *name = json_string_value(json_object_get(one, "name"));
        const char *content = json_string_value(json_object_get(one, "content"));
        if (i == FILES_MAX || !name || !content)
            return error_set(error, "attachments: at most %d, each with name and content (base64)", FILES_MAX);
        struct buf octets = {0};
        if (!base64_decode(slice_of(content), &octets)) {
            buf_finish(&octets);
            return error_set(error, "attachments: \"%s\" is no base64", name);
        }
        sending->files[sending->letter.file_count++] =
            letter_file(sending->arena, slice_of(name), slice_of(json_string_value(json_object_get(one, "type"))),
                        arena_copy(sending->arena, buf_slice(&octets)));
        buf_finish(&octets);
    }
    sending->letter.files = sending->files;
    return true;
}

static struct slice text_of(const json_t *body, const char *key)
{
    const json_t *value = json_object_get(body, key);
    return json_is_string(value) ? slice_make(json_string_value(value), json_string_length(value)) : SLICE_NONE;
}

static bool read_one(struct sending *sending, const char *what, struct slice text, struct address_list *ret_list, struct error *error)
{
    if (!address_list_parse(sending->arena, letter_one_line(sending->arena, text), 2, ret_list, error) || ret_list->count != 1
        || ret_list->fault_count)
        return error_set(error, "%s: one address was expected", what);
    address_qualify(sending->arena, slice_of(sending->config->default_domain), &ret_list->items[0]);
    return true;
}

static bool set_sender(struct sending *sending)
{
    sending->sender = sending->letter.from.items[0].text;
    return true;
}

static bool read_fields(struct sending *sending, const json_t *body, struct error *error)
{
    static const struct admin_field known[] = {
        {"from", ADMIN_TEXT}, {"to", ADMIN_TEXT | ADMIN_LIST}, {"cc", ADMIN_TEXT | ADMIN_LIST}, {"bcc", ADMIN_TEXT | ADMIN_LIST},
        {"reply_to", ADMIN_TEXT}, {"subject", ADMIN_TEXT}, {"text", ADMIN_TEXT}, {"html", ADMIN_TEXT}, {"attachments", ADMIN_LIST}};
    struct letter *letter = &sending->letter;
    if (!admin_check_fields(body, known, COUNT_OF(known), error))
        return false;
    letter->subject = text_of(body, "subject");
    letter->text = text_of(body, "text");
    letter->html = text_of(body, "html");
    if (slice_is_absent(letter->text) && slice_is_absent(letter->html))
        letter->text = SLICE("");
    struct slice reply_to = text_of(body, "reply_to");
    letter->to.items = sending->to;
    letter->cc.items = sending->cc;
    return read_one(sending, "from", text_of(body, "from"), &letter->from, error)
           && (slice_is_absent(reply_to) || read_one(sending, "reply_to", reply_to, &letter->reply_to, error))
           && read_list(sending, json_object_get(body, "to"), &letter->to, error)
           && read_list(sending, json_object_get(body, "cc"), &letter->cc, error)
           && read_list(sending, json_object_get(body, "bcc"), NULL, error)
           && read_files(sending, json_object_get(body, "attachments"), error)
           && set_sender(sending)
           && (sending->recipient_count || error_set(error, "to, cc or bcc: an address was expected"));
}

/* ---- sending ---- */

static bool submit(struct sending *sending, struct slice message, char name[PICKUP_WRITER_NAME_SIZE], struct error *error,
                   unsigned *ret_status)
{
    struct submission submission = {.sender = sending->sender, .recipients = sending->recipients,
                                    .recipient_count = sending->recipient_count, .message = message,
                                    .once_key = sending->once_key};
    *ret_status = 503;
    return pickup_write(sending->config->pickup.dir, &submission, name, error);
}

static bool send_fields(struct sending *sending, const struct request *request, char name[PICKUP_WRITER_NAME_SIZE],
                        struct error *error, unsigned *ret_status)
{
    struct buf message = {0};
    json_t *body = json_loadb(buf_slice(&request->body).data, request->body.size, JSON_REJECT_DUPLICATES, NULL);
    *ret_status = 422;
    bool is_done = (json_is_object(body) || error_set(error, "a JSON object was expected"))
                   && read_fields(sending, body, error) && letter_compose(sending->arena, &sending->letter, &message, error)
                   && submit(sending, buf_slice(&message), name, error, ret_status);
    buf_finish(&message);
    json_decref(body);
    return is_done;
}

static bool send_octets(struct sending *sending, const struct request *request, char name[PICKUP_WRITER_NAME_SIZE],
                        struct error *error, unsigned *ret_status)
{
    struct slice sender = request_argument(request, "sender"), recipients = request_argument(request, "recipient");
    struct address address;
    *ret_status = 422;
    if (request->body.size == 0)
        return error_set(error, "the message is empty");
    if (sender.size) {
        if (!address_parse(sending->arena, sender, &address, error))
            return false;
        sending->sender = address.text;
    }
    if (recipients.size && !add_recipients(sending, recipients, NULL, error))
        return false;
    return submit(sending, buf_slice(&request->body), name, error, ret_status);
}

static bool send_any(struct admin *admin, struct request *request, char name[PICKUP_WRITER_NAME_SIZE], struct error *error,
                     unsigned *ret_status)
{
    struct slice type = request_header(request, "Content-Type");
    struct sending *sending = arena_alloc(&request->arena, sizeof *sending);
    sending->arena = &request->arena;
    sending->config = admin->config;
    struct slice key = request_header(request, "Idempotency-Key");
    if (key.size)
        sending->once_key = arena_printf(&request->arena, "api/%.*s", SLICE_FMT(key));
    if (slice_starts_nocase(type, SLICE("message/rfc822")))
        return send_octets(sending, request, name, error, ret_status);
    if (slice_starts_nocase(type, SLICE("application/json")))
        return send_fields(sending, request, name, error, ret_status);
    *ret_status = 415;
    return error_set(error, "Content-Type: message/rfc822 or application/json was expected");
}

void admin_send(struct admin *admin, struct request *request, struct slice rest, struct answer *answer)
{
    char name[PICKUP_WRITER_NAME_SIZE] = "";
    struct error error;
    unsigned status;
    (void)rest;
    struct slice key = request_header(request, "Idempotency-Key");
    enum claim claim = key.size && key.size <= KEY_SIZE_MAX ? claim_key(admin, key, name) : CLAIM_NEW;
    if (key.size > KEY_SIZE_MAX) {
        answer_json_error(answer, 400, "Idempotency-Key: at most 200 octets");
    } else if (claim == CLAIM_UNDER_WAY) {
        answer_json_error(answer, 409, "a request with this Idempotency-Key is under way");
    } else if (claim == CLAIM_SENT || send_any(admin, request, name, &error, &status)) {
        if (key.size && claim == CLAIM_NEW)
            finish_key(admin, key, name);
        admin_put_json(answer, 202, json_pack("{s:s}", "pickup", name));
    } else {
        if (key.size)
            finish_key(admin, key, NULL);
        answer_json_error(answer, status, error.text);
    }
}
