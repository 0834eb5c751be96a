#include "outcome/webhook_private.h"

#include "base/base64.h"
#include "base/json.h"
#include "base/mem.h"
#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SECRET_SIZE_MIN = 16, SECRET_SIZE_MAX = 4096 };

static bool decode_secret(struct slice text, struct buf *out)
{
    struct slice trimmed = slice_trim(text);
    if (slice_starts(trimmed, SLICE("whsec_")))
        return base64_decode(slice_from(trimmed, 6), out);
    buf_append(out, trimmed);
    return true;
}

bool hook_read_secret(struct hook *hook, struct error *error)
{
    struct buf text = {0};
    struct stat is;
    const char *path = hook->config->secret_file;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool is_read = fd >= 0 && fstat(fd, &is) == 0 && file_read(fd, SECRET_SIZE_MAX, &text, error);
    if (fd < 0)
        (void)error_set_errno(error, path);
    else
        close(fd);
    if (is_read && is.st_mode & S_IRWXO)
        is_read = error_set(error, "%s: everybody may read it: chmod o= it", path);
    if (is_read && (!decode_secret(buf_slice(&text), &hook->secret) || hook->secret.size < SECRET_SIZE_MIN))
        is_read = error_set(error, "%s: a secret of at least %d octets was expected, or whsec_ and base64 of as many", path, SECRET_SIZE_MIN);
    if (text.size)
        explicit_bzero(text.data, text.size);
    buf_finish(&text);
    return is_read || error_prefix(error, "hook \"%s\"", hook->config->name);
}

static void file_name(const struct hook *hook, const char *end, char ret_name[80])
{
    (void)snprintf(ret_name, 80, "%s%s", hook->config->name, end);
}

bool hook_load(struct hook *hook, int folder_fd, struct follow_place *ret_place, struct error *error)
{
    char name[80];
    json_t *state;
    file_name(hook, ".json", name);
    bool is_read = follow_load(folder_fd, name, &state, error);
    const json_t *taken = json_object_get(state, "taken");
    *ret_place = follow_place_of(state);
    for (size_t i = 0; i < json_array_size(taken); i++) {
        const char *id = json_string_value(json_array_get(taken, i));
        struct taken *one = mem_alloc(sizeof *one);
        (void)snprintf(one->id, sizeof one->id, "%s", id ? id : "");
        HASH_ADD_STR(hook->taken, id, one);
    }
    json_decref(state);
    return is_read;
}

bool hook_save(struct hook *hook, int folder_fd, struct error *error)
{
    char name[80];
    struct buf text = {0};
    const struct follow_place *place = hook->first ? &hook->first->place : &hook->follower.at;
    file_name(hook, ".json", name);
    follow_put_place(place, &text);
    json_key(&text, "taken");
    json_open(&text, '[');
    for (const struct hook_event *event = hook->first; event; event = event->next)
        if (event->is_done)
            json_text(&text, slice_of(event->id));
    json_close(&text, ']');
    json_close(&text, '}');
    buf_append_byte(&text, '\n');
    bool is_saved = file_publish(folder_fd, name, buf_slice(&text), FILE_SYNC, error) && file_sync_folder(folder_fd, error);
    buf_finish(&text);
    hook->is_changed = !is_saved;
    if (is_saved)
        hook->saved = *place;
    return is_saved;
}

bool hook_set_aside(const struct hook_event *event, int folder_fd, const char *reason, struct error *error)
{
    char name[80];
    struct buf line = {0};
    file_name(event->hook, ".undelivered", name);
    json_open(&line, '{');
    json_put_text(&line, "id", slice_of(event->id));
    json_put_text(&line, "reason", slice_of(reason));
    json_key(&line, "event");
    buf_append(&line, buf_slice(&event->body)); /* JSON already */
    buf_append_text(&line, "}\n");
    int fd = openat(folder_fd, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
    bool is_written = fd >= 0 ? file_write_all(fd, buf_slice(&line), error) : error_set_errno(error, name);
    if (is_written && fsync(fd) != 0)
        is_written = error_set_errno(error, name);
    if (fd >= 0)
        close(fd);
    buf_finish(&line);
    return is_written;
}

void hook_forget_taken(struct hook *hook)
{
    struct taken *one, *next;
    HASH_ITER(hh, hook->taken, one, next) {
        HASH_DEL(hook->taken, one);
        free(one);
    }
}
