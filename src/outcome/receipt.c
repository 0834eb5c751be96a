#include "outcome/receipt.h"

#include "base/json.h"
#include "os/clock.h"
#include "os/file.h"
#include "outcome/name.h"
#include "store/filter.h"

#include <stdio.h>

static void put_time(struct buf *out, const char *key, int64_t time_ms)
{
    char text[25];
    clock_rfc3339(time_ms, text);
    json_put_text(out, key, time_ms ? slice_of(text) : SLICE_NONE);
}

static void put_recipient(struct buf *out, const struct store_recipient *recipient)
{
    json_open(out, '{');
    json_put_text(out, "to", recipient->address);
    json_put_text(out, "state", slice_of(state_name(recipient->state)));
    json_put_number(out, "attempts", recipient->attempts);
    json_put_text(out, "status", recipient->last_status);
    json_put_text(out, "reply", recipient->last_reply);
    json_put_text(out, "host", recipient->last_host);
    put_time(out, "last_attempt", recipient->last_attempt_ms);
    put_time(out, "next", recipient->state == STATE_QUEUED ? recipient->next_ms : 0);
    json_close(out, '}');
}

bool receipt_write(int folder_fd, const struct store_message *message,
                   const struct store_recipient *recipients, size_t count, bool is_done,
                   struct error *error)
{
    char id[17], name[OUTCOME_NAME_SIZE_MAX + 1], file[OUTCOME_NAME_SIZE_MAX + sizeof ".json"];
    struct buf json = {0};

    if (slice_is_absent(message->pickup_name))
        return true;
    store_id_text(message->id, id);
    json_open(&json, '{');
    json_put_text(&json, "pickup", message->pickup_name);
    json_put_text(&json, "id", slice_of(id));
    json_put_text(&json, "message_id", message->message_id);
    json_put_text(&json, "from", message->sender);
    put_time(&json, "arrived", message->arrived_ms);
    json_put_bool(&json, "done", is_done);
    json_key(&json, "recipients");
    json_open(&json, '[');
    for (size_t i = 0; i < count; i++)
        put_recipient(&json, &recipients[i]);
    json_close(&json, ']');
    json_close(&json, '}');
    buf_append_byte(&json, '\n');

    outcome_name_clean(message->pickup_name, name);
    (void)snprintf(file, sizeof file, "%s.json", name);
    bool is_written = file_publish(folder_fd, file, buf_slice(&json), FILE_NO_SYNC, error);
    buf_finish(&json);
    return is_written || error_prefix(error, "Receipts");
}
