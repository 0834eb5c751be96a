/* POST /v1/messages: a message as RFC 5322 octets (message/rfc822; ?sender= and ?recipient=a,b name the envelope) or as JSON
 * fields. 202 when it is durably in Pickup. */
#include "web/admin_private.h"

#include "base/base64.h"
#include "base/mem.h"
#include "message/address.h"
#include "os/clock.h"
#include "pickup/pickup_writer.h"
#include "web/form_mail.h"

#include <stdlib.h>
#include <uthash.h>

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
    struct letter_file files[FILES_MAX];
    struct letter letter;
};

static bool add_recipients(struct sending *sending, struct slice text, struct slice *ret_header, struct error *error)
{
    struct address_list list;
    if (!address_list_parse(sending->arena, form_mail_one_line(sending->arena, text), RECIPIENTS_MAX, &list, error))
        return false;
    if (list.fault_count)
        return error_set(error, "\"%.*s\": %s", SLICE_FMT(list.faults[0].text), list.faults[0].reason);
    for (size_t i = 0; i < list.count; i++) {
        if (sending->recipient_count == RECIPIENTS_MAX)
            return error_set(error, "more than %d recipients", RECIPIENTS_MAX);
        address_qualify(sending->arena, slice_of(sending->config->default_domain), &list.items[i]);
        struct slice address = list.items[i].text;
        sending->recipients[sending->recipient_count++].address = address;
        struct slice mailbox = letter_mailbox(sending->arena, list.items[i].display, address);
        if (ret_header)
            *ret_header = slice_is_absent(*ret_header)
                              ? mailbox : arena_printf(sending->arena, "%.*s, %.*s", SLICE_FMT(*ret_header), SLICE_FMT(mailbox));
    }
    return true;
}

/* "a@b, c@d" or ["a@b", "c@d"] */
static bool read_list(struct sending *sending, const json_t *value, struct slice *ret_header, struct error *error)
{
    if (json_is_string(value))
        return add_recipients(sending, slice_make(json_string_value(value), json_string_length(value)), ret_header, error);
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *one = json_array_get(value, i);
        if (!json_is_string(one))
            return error_set(error, "an address is no text");
        if (!add_recipients(sending, slice_make(json_string_value(one), json_string_length(one)), ret_header, error))
            return false;
    }
    return true;
}

static bool read_files(struct sending *sending, const json_t *list, struct error *error)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i);
        const char *name = json_string_value(json_object_get(one, "name"));
        const char *content = json_string_value(json_object_get(one, "content"));
        struct letter_file *file = &sending->files[sending->letter.file_count];
        if (i == FILES_MAX || !name || !content)
            return error_set(error, "attachments: at most %d, each with name and content (base64)", FILES_MAX);
        struct buf octets = {0};
        if (!base64_decode(slice_of(content), &octets))
            return error_set(error, "attachments: \"%s\" is no base64", name);
        file->content = arena_copy(sending->arena, buf_slice(&octets));
        buf_finish(&octets);
        file->name = slice_of(name);
        file->type = slice_of(json_string_value(json_object_get(one, "type")));
        sending->letter.file_count++;
    }
    sending->letter.files = sending->files;
    return true;
}

static struct slice text_of(const json_t *body, const char *key)
{
    const json_t *value = json_object_get(body, key);
    return json_is_string(value) ? slice_make(json_string_value(value), json_string_length(value)) : SLICE_NONE;
}

static bool read_from(struct sending *sending, struct slice from, struct error *error)
{
    struct address_list list;
    if (slice_is_absent(from))
        return error_set(error, "from: an address was expected");
    if (!address_list_parse(sending->arena, form_mail_one_line(sending->arena, from), 2, &list, error) || list.count != 1)
        return error_set(error, "from: one address was expected");
    address_qualify(sending->arena, slice_of(sending->config->default_domain), &list.items[0]);
    sending->sender = list.items[0].text;
    sending->letter.from = letter_mailbox(sending->arena, list.items[0].display, sending->sender);
    return true;
}

static bool read_reply_to(struct sending *sending, struct slice text, struct error *error)
{
    struct address_list list;
    if (slice_is_absent(text))
        return true;
    if (!address_list_parse(sending->arena, form_mail_one_line(sending->arena, text), 2, &list, error) || list.count != 1)
        return error_set(error, "reply_to: one address was expected");
    address_qualify(sending->arena, slice_of(sending->config->default_domain), &list.items[0]);
    sending->letter.reply_to = letter_mailbox(sending->arena, list.items[0].display, list.items[0].text);
    return true;
}

static bool read_fields(struct sending *sending, const json_t *body, struct error *error)
{
    static const char *const known[] = {"from", "to", "cc", "bcc", "reply_to", "subject", "text", "html", "attachments"};
    struct letter *letter = &sending->letter;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)body, key, value) {
        bool is_known = false;
        for (size_t i = 0; i < COUNT_OF(known); i++)
            is_known = is_known || strcmp(key, known[i]) == 0;
        if (!is_known)
            return error_set(error, "\"%s\": no such field", key);
    }
    letter->subject = text_of(body, "subject");
    letter->text = text_of(body, "text");
    letter->html = text_of(body, "html");
    if (slice_is_absent(letter->text) && slice_is_absent(letter->html))
        letter->text = SLICE("");
    return read_from(sending, text_of(body, "from"), error) && read_reply_to(sending, text_of(body, "reply_to"), error)
           && read_list(sending, json_object_get(body, "to"), &letter->to, error)
           && read_list(sending, json_object_get(body, "cc"), &letter->cc, error)
           && read_list(sending, json_object_get(body, "bcc"), NULL, error)
           && read_files(sending, json_object_get(body, "attachments"), error)
           && (sending->recipient_count || error_set(error, "to, cc or bcc: an address was expected"));
}

/* ---- sending ---- */

static bool submit(struct sending *sending, struct slice message, char name[PICKUP_WRITER_NAME_SIZE], struct error *error,
                   unsigned *ret_status)
{
    struct submission submission = {.sender = sending->sender, .recipients = sending->recipients,
                                    .recipient_count = sending->recipient_count, .message = message};
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
                   && read_fields(sending, body, error) && letter_compose(&sending->letter, &message, error)
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
