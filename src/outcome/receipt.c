#include "outcome/receipt.h"

#include "base/json.h"
#include "config/folder_conf.h"
#include "os/clock.h"
#include "os/file.h"
#include "outcome/name.h"
#include "store/filter.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

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

/* R5: the descriptor of Receipts/FOLDER, or `folder_fd` itself; `pickup` keeps the file's name alone. -1 with a reason. */
static int folder_of(int folder_fd, struct slice *pickup, struct error *error)
{
    struct slice rest = *pickup, first = slice_cut(&rest, '/');
    char name[FOLDER_CONF_NAME_MAX + 1];
    if (first.size == pickup->size || first.size > FOLDER_CONF_NAME_MAX)
        return folder_fd;
    (void)snprintf(name, sizeof name, "%.*s", SLICE_FMT(first));
    if (!folder_conf_is_name(name))
        return folder_fd;
    *pickup = rest;
    if (mkdirat(folder_fd, name, 0750) != 0 && errno != EEXIST) {
        (void)error_set_errno(error, name);
        return -1;
    }
    int fd = openat(folder_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        (void)error_set_errno(error, name);
    return fd;
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

    struct slice pickup = message->pickup_name;
    int fd = folder_of(folder_fd, &pickup, error);
    outcome_name_clean(pickup, name);
    (void)snprintf(file, sizeof file, "%s.json", name);
    bool is_written = fd >= 0 && file_publish(fd, file, buf_slice(&json), FILE_NO_SYNC, error);
    if (fd >= 0 && fd != folder_fd)
        close(fd);
    buf_finish(&json);
    return is_written || error_prefix(error, "Receipts");
}
