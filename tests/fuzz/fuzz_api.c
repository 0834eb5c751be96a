/* JSON that clients, scripts and providers send: the API's message, the control socket's filter, a token answer, a line of events. What is
 * taken is a message with whole lines and clean recipients; a filter reads again as itself. The first octet says which it is. */
#include "web/admin_send.c"

#include "base/check.h"
#include "outcome/history.h"
#include "relay/oauth.h"
#include "store/filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void send_message(struct slice text)
{
    static struct config config;
    struct arena arena = {0};
    struct error error = {{0}};
    struct buf message = {0};
    struct sending *sending = arena_alloc(&arena, sizeof *sending);
    json_t *body = json_loadb(text.data, text.size, JSON_REJECT_DUPLICATES, NULL);
    config.default_domain = (char *)(uintptr_t) "me.test";
    sending->arena = &arena;
    sending->config = &config;
    if (body && read_fields(sending, body, &error) && letter_compose(&arena, &sending->letter, &message, &error)) {
        CHECK(sending->recipient_count > 0);
        for (size_t i = 0; i < sending->recipient_count; i++)
            for (size_t k = 0; k < sending->recipients[i].address.size; k++)
                CHECK((unsigned char)sending->recipients[i].address.data[k] >= ' ');
        for (size_t i = 0; i < message.size; i++)
            CHECK(message.data[i] != '\n' || (i && message.data[i - 1] == '\r'));
    } else {
        CHECK(!body || error.text[0]);
    }
    buf_finish(&message);
    json_decref(body);
    arena_finish(&arena);
}

static void filter_queue(struct slice text)
{
    struct arena arena = {0};
    struct store_filter filter, again;
    struct error error = {{0}};
    json_t *value = json_loadb(text.data, text.size, JSON_REJECT_DUPLICATES, NULL);
    if (value && filter_from_json(&arena, value, &filter, &error)) {
        json_t *written = filter_to_json(&filter, &error);
        CHECK(written && filter_from_json(&arena, written, &again, &error));
        CHECK(filter_is_set(&filter) == filter_is_set(&again) && filter.state == again.state && filter.limit == again.limit);
        json_decref(written);
    }
    json_decref(value);
    arena_finish(&arena);
}

static void read_token(struct slice text, int status)
{
    struct oauth_answer answer;
    oauth_answer_read(status, text, "problem", &answer);
    CHECK((answer.verdict == OAUTH_GRANTED) == (answer.access_token != NULL) && answer.life_s > 0);
    for (const char *c = answer.problem; *c; c++)
        CHECK((unsigned char)*c >= ' ');
    oauth_answer_finish(&answer);
}

static void read_event(struct slice text)
{
    json_t *event = json_loadb(text.data, text.size, JSON_ALLOW_NUL, NULL);
    CHECK(history_text(event, "event") && history_text(event, "id"));
    (void)history_time_ms(event);
    json_decref(event);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct slice text = slice_make((const char *)data + 1, size - 1);
    switch (data[0] % 4) {
    case 0: send_message(text); break;
    case 1: filter_queue(text); break;
    case 2: read_token(text, data[0] & 4 ? 200 : data[0] & 8 ? 400 : 503); break;
    default: read_event(text); break;
    }
    return 0;
}
