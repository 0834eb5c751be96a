/* Badmail: what lies there and why; mended and resubmitted, or removed. A name is one that Badmail itself made (badmail.h B3). */
#include "web/admin_private.h"

#include "os/file.h"
#include "pickup/pickup_writer.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LISTED_MAX = 500, SHOWN_MAX = 1 << 20, RESUBMITTED_MAX = 64 << 20, BDP_MAX = 1 << 20 };

static bool is_name(struct slice name)
{
    if (name.size == 0 || name.size > 240 || name.data[0] == '.')
        return false;
    for (size_t i = 0; i < name.size; i++)
        if ((unsigned char)name.data[i] < 0x20 || name.data[i] == '/' || name.data[i] == 0x7f)
            return false;
    return true;
}

static bool read_file(int folder_fd, struct slice name, const char *ending, size_t size_max, struct buf *out)
{
    char file[260];
    struct error error;
    struct stat is;
    (void)snprintf(file, sizeof file, "%.*s%s", SLICE_FMT(name), ending);
    int fd = openat(folder_fd, file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool is_read = fstat(fd, &is) == 0 && S_ISREG(is.st_mode) && file_read(fd, size_max, out, &error);
    close(fd);
    return is_read;
}

static json_t *read_properties(int folder_fd, struct slice name)
{
    struct buf text = {0};
    json_t *properties = read_file(folder_fd, name, ".BDP", BDP_MAX, &text)
                             ? json_loadb(buf_slice(&text).data, text.size, JSON_ALLOW_NUL, NULL) : NULL;
    buf_finish(&text);
    if (!json_is_object(properties)) {
        json_decref(properties);
        properties = json_object();
    }
    json_object_set_new(properties, "name", json_stringn(name.data, name.size));
    return properties;
}

static int open_folder(struct admin *admin, struct answer *answer)
{
    struct error error;
    int fd = file_open_folder(admin->badmail_dir, &error);
    if (fd < 0)
        answer_json_error(answer, 503, "Badmail can't be opened");
    return fd;
}

static int newest_first(const void *a, const void *b)
{
    const json_t *const *one = a, *const *two = b;
    const char *x = json_string_value(json_object_get(*one, "time")), *y = json_string_value(json_object_get(*two, "time"));
    return strcmp(y ? y : "", x ? x : "");
}

void admin_badmail_list(struct admin *admin, struct request *request, struct slice rest, struct answer *answer)
{
    const struct dirent *entry;
    json_t *found[LISTED_MAX], *list = json_array();
    size_t count = 0, total = 0;
    (void)request;
    (void)rest;
    int fd = open_folder(admin, answer);
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
    while (folder && (entry = readdir(folder))) {
        struct slice name = slice_of(entry->d_name);
        if (name.size < 5 || !slice_equals(slice_from(name, name.size - 4), SLICE(".BAD")) || name.data[0] == '.')
            continue;
        total++;
        if (count < LISTED_MAX)
            found[count++] = read_properties(fd, slice_first(name, name.size - 4));
    }
    qsort(found, count, sizeof found[0], newest_first);
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, found[i]);
    if (folder) {
        closedir(folder);
        admin_put_json(answer, 200, json_pack("{s:o, s:I}", "badmail", list, "total", (json_int_t)total));
    } else {
        json_decref(list);
    }
}

void admin_badmail_show(struct admin *admin, struct request *request, struct slice rest, struct answer *answer)
{
    struct buf message = {0}, reason = {0};
    (void)request;
    int fd = is_name(rest) ? open_folder(admin, answer) : -1;
    if (fd >= 0 && read_file(fd, rest, ".BAD", SHOWN_MAX, &message)) {
        json_t *properties = read_properties(fd, rest);
        json_t *text = json_stringn(buf_slice(&message).data, message.size);
        if (read_file(fd, rest, ".BDR", SHOWN_MAX, &reason))
            json_object_set_new(properties, "text", json_stringn(buf_slice(&reason).data, reason.size));
        json_object_set_new(properties, "is_text", json_boolean(text != NULL));
        json_object_set_new(properties, "message", text ? text : json_null());
        admin_put_json(answer, 200, properties);
    } else if (answer->status == 0) {
        answer_json_error(answer, 404, "no such file in Badmail that can be shown (up to 1 MB)");
    }
    buf_finish(&message);
    buf_finish(&reason);
    if (fd >= 0)
        close(fd);
}

static bool remove_files(int folder_fd, struct slice name)
{
    static const char *const endings[] = {".BAD", ".BDP", ".BDR"};
    char file[260];
    struct error error;
    bool is_any = false;
    for (size_t i = 0; i < COUNT_OF(endings); i++) {
        (void)snprintf(file, sizeof file, "%.*s%s", SLICE_FMT(name), endings[i]);
        is_any = unlinkat(folder_fd, file, 0) == 0 || is_any;
    }
    return is_any && file_sync_folder(folder_fd, &error);
}

/* POST …/NAME {} as it is; {"message": "…"} mended. The files go when the new one is durably in Pickup. */
void admin_badmail_resubmit(struct admin *admin, struct request *request, struct slice rest, struct answer *answer)
{
    char name[PICKUP_WRITER_NAME_SIZE];
    struct error error;
    struct buf message = {0};
    static const struct admin_field known[] = {{"message", ADMIN_TEXT}};
    json_t *body = admin_body(request, answer);
    if (!body)
        return;
    if (!admin_check_fields(body, known, COUNT_OF(known), &error)) {
        answer_json_error(answer, 422, error.text);
        json_decref(body);
        return;
    }
    const json_t *mended = json_object_get(body, "message");
    int fd = is_name(rest) ? open_folder(admin, answer) : -1;
    bool is_there = fd >= 0 && read_file(fd, rest, ".BAD", RESUBMITTED_MAX, &message);
    struct submission submission = {.sender = SLICE_NONE, .message = buf_slice(&message)};
    if (json_is_string(mended))
        submission.message = slice_make(json_string_value(mended), json_string_length(mended));
    if (!is_there && answer->status == 0)
        answer_json_error(answer, 404, "no such file in Badmail");
    else if (is_there && !pickup_write(admin->config->pickup.dir, &submission, name, &error))
        answer_json_error(answer, 503, error.text);
    else if (is_there)
        admin_put_json(answer, 202, json_pack("{s:s, s:b}", "pickup", name, "removed", remove_files(fd, rest)));
    buf_finish(&message);
    json_decref(body);
    if (fd >= 0)
        close(fd);
}

void admin_badmail_remove(struct admin *admin, struct request *request, struct slice rest, struct answer *answer)
{
    (void)request;
    int fd = is_name(rest) ? open_folder(admin, answer) : -1;
    if (fd >= 0 && remove_files(fd, rest))
        admin_put_json(answer, 200, json_pack("{s:b}", "ok", 1));
    else if (answer->status == 0)
        answer_json_error(answer, 404, "no such file in Badmail");
    if (fd >= 0)
        close(fd);
}
