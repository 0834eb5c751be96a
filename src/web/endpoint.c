#include "web/endpoint.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "message/address.h"
#include "os/clock.h"
#include "web/charset.h"
#include "web/form_files.h"
#include "web/form_mail.h"
#include "web/form_token.h"
#include "web/html.h"
#include "web/results.h"

#include <jansson.h>
#include <stdlib.h>

enum { SUBJECT_SIZE_MAX = 400 };

struct endpoints {
    const struct config *config;
    struct rate *rate;
    struct form_tokens *tokens;
};

/* What was posted, as UTF-8. */
struct posting {
    struct endpoints *endpoints;
    const struct config_form *form;
    struct request *request;
    struct arena *arena;
    struct form_body body;
    bool is_json;
};

struct endpoints *endpoints_create(const struct config *config, struct rate *rate)
{
    struct endpoints *endpoints = mem_alloc(sizeof *endpoints);
    *endpoints = (struct endpoints){config, rate, form_tokens_create()};
    return endpoints;
}

void endpoints_destroy(struct endpoints **endpoints)
{
    if (!*endpoints)
        return;
    form_tokens_destroy(&(*endpoints)->tokens);
    free(*endpoints);
    *endpoints = NULL;
}

static bool is_token_path(const struct config_form *form, struct slice path)
{
    return path.size > 7 + strlen(form->name);
}

const struct config_form *endpoint_find(const struct config *config, struct slice path)
{
    if (!slice_starts(path, SLICE("/forms/")))
        return NULL;
    struct slice rest = slice_from(path, 7), name = slice_cut(&rest, '/');
    bool is_known = path.size == 7 + name.size || slice_equals(rest, SLICE("token"));
    for (size_t i = 0; is_known && i < config->form_count; i++)
        if (slice_equals(name, slice_of(config->forms[i].name)))
            return &config->forms[i];
    return NULL;
}

static bool is_any_work(const struct config *config)
{
    for (size_t i = 0; i < config->form_count; i++)
        if (config->forms[i].work_bits)
            return true;
    return false;
}

struct slice endpoints_hidden(struct endpoints *endpoints, struct arena *arena)
{
    char token[FORM_TOKEN_SIZE + 1];
    if (endpoints->config->form_count == 0)
        return SLICE("");
    form_token_make(endpoints->tokens, token);
    return arena_printf(arena, "<input type=\"hidden\" name=\"_charset_\"><input type=\"hidden\" name=\"mailroot-token\" value=\"%s\">%s", token,
                        is_any_work(endpoints->config) ? "<script src=\"/forms/work.js\" defer></script>" : "");
}

bool endpoint_is_script(struct slice path)
{
    return slice_equals(path, SLICE("/forms/work.js"));
}

void endpoint_script(struct answer *answer)
{
    answer->status = 200;
    answer->type = "text/javascript; charset=utf-8";
    answer->is_cached = true;
    buf_append_text(&answer->body, work_js);
}

/* ---- reading a post ---- */

static bool add_json(struct posting *posting, const char *name, const json_t *value, struct error *error)
{
    struct form_field *field = &posting->body.fields[posting->body.count];
    if (json_is_array(value)) {
        for (size_t i = 0; i < json_array_size(value); i++)
            if (json_is_array(json_array_get(value, i)) || !add_json(posting, name, json_array_get(value, i), error))
                return error_set(error, "\"%s\": a list of texts was expected", name);
        return true;
    }
    if (posting->body.count == FORM_FIELDS_MAX || strlen(name) > FORM_NAME_SIZE_MAX)
        return error_set(error, "more than %d fields, or a name of over %d octets", FORM_FIELDS_MAX, FORM_NAME_SIZE_MAX);
    *field = (struct form_field){.name = arena_copy(posting->arena, slice_of(name))};
    if (json_is_string(value))
        field->value = arena_copy(posting->arena, slice_make(json_string_value(value), json_string_length(value)));
    else if (json_is_integer(value))
        field->value = arena_printf(posting->arena, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        field->value = arena_printf(posting->arena, "%.15g", json_real_value(value));
    else if (json_is_boolean(value) || json_is_null(value))
        field->value = json_is_true(value) ? SLICE("true") : json_is_null(value) ? SLICE("") : SLICE("false");
    else
        return error_set(error, "\"%s\": a text was expected", name);
    posting->body.count++;
    return true;
}

static enum form_result read_json(struct posting *posting, struct error *error)
{
    const char *name;
    json_t *value;
    bool is_fine = true;
    struct slice text = buf_slice(&posting->request->body);
    json_t *object = json_loadb(text.data, text.size, JSON_REJECT_DUPLICATES, NULL);
    posting->body = (struct form_body){arena_alloc(posting->arena, FORM_FIELDS_MAX * sizeof *posting->body.fields), 0, 0};
    if (!json_is_object(object))
        is_fine = error_set(error, "a JSON object was expected");
    else
        json_object_foreach(object, name, value) is_fine = is_fine && add_json(posting, name, value, error);
    json_decref(object);
    return is_fine ? FORM_DONE : FORM_MALFORMED;
}

/* N7 */
static struct slice to_utf8(struct arena *arena, const struct form_field *charset, struct slice text)
{
    struct slice name = charset && charset->value.size ? charset->value : utf8_is_valid(text) ? SLICE("utf-8") : SLICE("windows-1252");
    struct slice clean = charset_to_utf8(arena, name, text);
    return slice_equals_nocase(name, SLICE("utf-8")) ? clean : html_decode_numbers(arena, clean);
}

static enum form_result read_post(struct posting *posting, struct error *error)
{
    struct slice type = request_header(posting->request, "Content-Type");
    posting->is_json = slice_starts_nocase(type, SLICE("application/json"));
    enum form_result result = posting->is_json ? read_json(posting, error)
                                               : form_body_read(posting->arena, type, buf_slice(&posting->request->body),
                                                                &posting->body, error);
    const struct form_field *charset = result == FORM_DONE ? form_body_find(&posting->body, SLICE("_charset_")) : NULL;
    for (size_t i = 0; result == FORM_DONE && i < posting->body.count; i++) {
        struct form_field *field = &posting->body.fields[i];
        struct slice *text = slice_is_absent(field->file_name) ? &field->value : &field->file_name;
        field->name = to_utf8(posting->arena, charset, field->name);
        if (field != charset)
            *text = to_utf8(posting->arena, charset, *text);
    }
    return result;
}

static struct slice value_of(const struct posting *posting, struct slice name)
{
    const struct form_field *field = form_body_find(&posting->body, name);
    return field && slice_is_absent(field->file_name) ? field->value : SLICE("");
}

/* ---- judging it ---- */

static bool is_allowed_file(const struct config_form *form, struct slice name)
{
    for (size_t i = 0; i < form->file_types.count; i++) {
        struct slice ending = slice_of(form->file_types.items[i]);
        if (name.size > ending.size && slice_ends_nocase(name, ending) && name.data[name.size - ending.size - 1] == '.')
            return true;
    }
    return form->file_types.count == 0;
}

static bool check_fields(const struct posting *posting, struct error *error)
{
    const struct config_form *form = posting->form;
    for (size_t i = 0; i < form->required.count; i++)
        if (slice_trim(value_of(posting, slice_of(form->required.items[i]))).size == 0)
            return error_set(error, "Please enter a value for the \"%s\" field.", form->required.items[i]);
    if (form->honeypot && value_of(posting, slice_of(form->honeypot)).size)
        return error_set(error, "The \"%s\" field must be left empty.", form->honeypot);
    if (posting->body.files > (size_t)form->files_max)
        return error_set(error, "At most %d files can be sent with this form.", form->files_max);
    for (size_t i = 0; i < posting->body.count; i++) {
        const struct form_field *field = &posting->body.fields[i];
        if (!slice_is_absent(field->file_name) && field->file_name.size && !is_allowed_file(form, field->file_name))
            return error_set(error, "Files of that kind can't be sent with this form.");
    }
    return true;
}

/* ---- the mail ---- */

static void gather_fields(const struct posting *posting, struct results *ret_results)
{
    *ret_results = (struct results){arena_alloc(posting->arena, (posting->body.count + 1) * sizeof *ret_results->fields), 0};
    for (size_t i = 0; i < posting->body.count; i++) {
        const struct form_field *field = &posting->body.fields[i];
        bool is_own = slice_starts(field->name, SLICE("mailroot-")) || slice_equals(field->name, SLICE("_charset_"))
                      || (posting->form->honeypot && slice_equals(field->name, slice_of(posting->form->honeypot)));
        struct slice value = slice_is_absent(field->file_name) ? field->value : field->file_name;
        if (!is_own)
            ret_results->fields[ret_results->count++] = (struct result_field){
                .label = field->name, .value = value, .is_area = slice_find_byte(value, '\n') >= 0};
    }
}

/* {field}, {fields}; braces around anything else stay. */
static struct slice fill(const struct posting *posting, const char *words, struct slice all)
{
    struct buf out = {0};
    struct slice rest = slice_of(words);
    while (rest.size) {
        ptrdiff_t open = slice_find_byte(rest, '{'), close = open < 0 ? -1 : slice_find_byte(slice_from(rest, (size_t)open), '}');
        if (close < 0)
            break;
        struct slice name = slice_make(rest.data + open + 1, (size_t)close - 1);
        buf_append(&out, slice_first(rest, (size_t)open));
        buf_append(&out, slice_equals(name, SLICE("fields")) ? all : value_of(posting, name));
        rest = slice_from(rest, (size_t)(open + close) + 1);
    }
    buf_append(&out, rest);
    struct slice filled = arena_copy(posting->arena, buf_slice(&out));
    buf_finish(&out);
    return filled;
}

static struct slice cut_subject(struct slice subject)
{
    if (subject.size <= SUBJECT_SIZE_MAX)
        return subject;
    size_t size = SUBJECT_SIZE_MAX;
    while (size > 0 && ((unsigned char)subject.data[size] & 0xC0) == 0x80)
        size--;
    return slice_first(subject, size);
}

static void read_visitor(const struct posting *posting, struct address_list *ret_list)
{
    struct slice typed = posting->form->reply_to ? value_of(posting, slice_of(posting->form->reply_to)) : SLICE("");
    form_mail_one_address(posting->arena, typed, ret_list);
    if (ret_list->count && ret_list->items[0].domain.size == 0)
        ret_list->count = 0;
}

static void attach_files(const struct posting *posting, struct letter *letter)
{
    letter->files = arena_alloc(posting->arena, (posting->body.files + 1) * sizeof *letter->files);
    for (size_t i = 0; i < posting->body.count; i++) {
        const struct form_field *field = &posting->body.fields[i];
        if (!slice_is_absent(field->file_name) && (field->file_name.size || field->value.size))
            letter->files[letter->file_count++] = letter_file(posting->arena, field->file_name, field->type, field->value);
    }
}

static bool send_mail(const struct posting *posting, struct error *error)
{
    const struct config_form *form = posting->form;
    struct results results;
    struct buf all = {0};
    struct letter letter = {0}, answer = {.is_auto_reply = true};
    gather_fields(posting, &results);
    results_put(&results, RESULTS_PRE, true, &all);
    struct slice text = arena_copy(posting->arena, buf_slice(&all));
    buf_finish(&all);
    attach_files(posting, &letter);
    read_visitor(posting, &letter.reply_to);
    letter.subject = cut_subject(letter_one_line(posting->arena, form->subject ? fill(posting, form->subject, SLICE(""))
                                                                               : slice_of(form->name)));
    letter.text = form->text ? fill(posting, form->text, text) : text;
    if (!form_mail_submit(posting->arena, posting->endpoints->config, slice_of(form->to), &letter, error))
        return false;
    answer.subject = slice_of(form->auto_subject ? form->auto_subject : "Thank you");
    answer.text = slice_of(form->auto_answer);
    struct error unsaid; /* the visitor's words are kept: that the answer to them isn't does no harm */
    if (form->auto_answer && letter.reply_to.count)
        (void)!form_mail_submit(posting->arena, posting->endpoints->config, letter.reply_to.items[0].text, &answer, &unsaid);
    return true;
}

/* ---- answering ---- */

static void tell(const struct posting *posting, unsigned status, const char *text, struct answer *answer)
{
    bool wants_json = posting->is_json
                      || slice_find(request_header(posting->request, "Accept"), SLICE("application/json")) >= 0;
    if (wants_json && status >= 400) {
        answer_json_error(answer, status, text);
    } else if (wants_json) {
        answer->status = status;
        answer->type = "application/json";
        buf_append_text(&answer->body, "{\"ok\": true}\n");
    } else {
        answer_text(answer, status, text);
    }
}

static void thank(const struct posting *posting, struct answer *answer)
{
    tell(posting, 200, "Thank you. Your form was sent.", answer);
    if (posting->form->redirect && slice_starts(slice_of(answer->type), SLICE("text/html"))) {
        answer->status = 303;
        buf_append_text(&answer->location, posting->form->redirect);
    }
}

static void take(struct posting *posting, struct answer *answer)
{
    struct error error;
    int64_t age_ms;
    enum form_result result = read_post(posting, &error);
    if (result != FORM_DONE) {
        static const unsigned codes[] = {[FORM_MALFORMED] = 400, [FORM_TOO_MUCH] = 413, [FORM_OTHER_TYPE] = 415};
        tell(posting, codes[result], error.text, answer);
        return;
    }
    int bits = posting->form->work_bits;
    struct slice token = value_of(posting, SLICE("mailroot-token"));
    bool has_token = form_token_is_signed(posting->endpoints->tokens, token, &age_ms);
    if (posting->form->needs_token && !has_token) {
        tell(posting, 403, "This page is too old, or it isn't one of this site. Please load it again.", answer);
    } else if (bits && !form_token_is_work_done(token, value_of(posting, SLICE("mailroot-work")), bits)) {
        tell(posting, 403, "This form needs JavaScript, which does a sum before it is sent. Please load it again.", answer);
    } else if (has_token && age_ms < posting->form->least_ms) {
        tell(posting, 429, "That was very fast. Please wait a moment and send it again.", answer);
    } else if (!check_fields(posting, &error)) {
        tell(posting, 422, error.text, answer);
    } else if (has_token && !form_token_use(posting->endpoints->tokens, token)) {
        thank(posting, answer); /* N2 */
    } else if (send_mail(posting, &error)) {
        thank(posting, answer);
    } else {
        if (has_token)
            form_token_free(posting->endpoints->tokens, token);
        tell(posting, 503, "Your form was not sent: the server can't keep it now. Please try again later.", answer);
    }
}

static bool is_known_origin(const struct config_form *form, const struct request *request, struct answer *answer)
{
    struct slice origin = request_header(request, "Origin");
    for (size_t i = 0; i < form->origins.count; i++)
        if (slice_equals_nocase(origin, slice_of(form->origins.items[i]))) {
            buf_append_text(&answer->origin, form->origins.items[i]);
            return true;
        }
    return request_is_own_origin(request);
}

void endpoint_answer(struct endpoints *endpoints, struct request *request, struct answer *answer)
{
    const struct config_form *form = endpoint_find(endpoints->config, request->path);
    struct posting posting = {.endpoints = endpoints, .form = form, .request = request, .arena = &request->arena};
    char token[FORM_TOKEN_SIZE + 1];
    bool is_token = is_token_path(form, request->path);
    if (!is_known_origin(form, request, answer)) {
        tell(&posting, 403, "This form was posted from another site.", answer);
    } else if (slice_equals(request->method, SLICE("OPTIONS"))) {
        answer->status = 204;
        answer->type = "text/plain";
    } else if (is_token && slice_equals(request->method, SLICE("GET"))) {
        form_token_make(endpoints->tokens, token);
        answer->status = 200;
        answer->type = "application/json";
        buf_printf(&answer->body, "{\"token\": \"%s\", \"work\": %d}\n", token, form->work_bits);
    } else if (is_token || !slice_equals(request->method, SLICE("POST"))) {
        tell(&posting, 405, "That can't be done here.", answer);
    } else if (!rate_take(endpoints->rate, request->address, clock_mono_ms())) {
        tell(&posting, 429, "Too many forms came from your address. Please wait a minute.", answer);
    } else {
        take(&posting, answer);
    }
}
