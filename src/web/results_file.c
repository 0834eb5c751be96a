#include "web/results_file.h"

#include "os/file.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

enum { FILES_MAX = 4, NAME_SIZE_MAX = 120, RESULTS_SIZE_MAX = 64 << 20 };

static pthread_mutex_t writing = PTHREAD_MUTEX_INITIALIZER; /* whoever holds it reads and replaces results files */

struct slice results_file_name(struct arena *arena, struct slice wanted)
{
    struct slice name = slice_trim(wanted);
    bool is_absolute = slice_find_byte(name, ':') >= 0 || slice_find_byte(name, '\\') >= 0
                       || (name.size && name.data[0] == '/') || slice_find(name, SLICE("..")) >= 0;
    if (is_absolute)
        for (size_t i = name.size; i > 0; i--)
            if (name.data[i - 1] == '/' || name.data[i - 1] == '\\' || name.data[i - 1] == ':') {
                name = slice_from(name, i);
                break;
            }
    char *text = arena_text(arena, name);
    for (char *c = text; *c; c++) {
        bool is_plain = (*c >= '0' && *c <= '9') || ((*c | 0x20) >= 'a' && (*c | 0x20) <= 'z') || *c == '.' || *c == '-' || *c == '_';
        if (!is_plain)
            *c = '_';
    }
    while (*text == '.')
        text++;
    struct slice result = slice_of(text);
    return result.size == 0 ? SLICE_NONE : result.size > NAME_SIZE_MAX ? slice_from(result, result.size - NAME_SIZE_MAX) : result;
}

static bool read_old(int folder_fd, const char *name, struct buf *out, struct error *error)
{
    int fd = openat(folder_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return faccessat(folder_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) != 0 || error_set_errno(error, name);
    bool is_read = file_read(fd, RESULTS_SIZE_MAX, out, error);
    close(fd);
    return is_read;
}

static size_t form_number(const struct gathered *g)
{
    return (size_t)(g->form - g->page->forms) + 1;
}

static bool write_one(const struct gathered *g, int folder_fd, size_t nth, struct slice page, const struct results *results,
                      struct error *error)
{
    struct arena *arena = g->arena;
    struct slice wanted = page_setting(arena, g->page, g->form, SLICE("U-File"), nth);
    struct slice name = results_file_name(arena, wanted);
    if (slice_is_absent(name))
        return true;
    struct buf old = {0}, record = {0}, labels = {0}, merged = {0};
    enum results_format format = results_format_of(page_setting(arena, g->page, g->form, SLICE("S-Format"), nth));
    bool has_labels = page_setting_is(arena, g->page, g->form, SLICE("S-Label-Fields"),
                                      page_setting_is(arena, g->page, g->form, SLICE("B-Label-Fields"), true));
    results_put(results, format, has_labels, &record);
    if (has_labels && (format == RESULTS_CSV || format == RESULTS_TSV))
        results_put_labels(results, format, &labels);
    const char *plain = arena_text(arena, name);
    bool is_done = read_old(folder_fd, plain, &old, error);
    struct results_file file = {
        buf_slice(&old), buf_slice(&record), buf_slice(&labels),
        arena_printf(arena, "Results from Form %zu of Page %.*s", form_number(g), SLICE_FMT(slice_from(page, 1))),
        results_is_html(format), page_setting_is(arena, g->page, g->form, SLICE("B-Reverse-Chronology"), false)};
    results_merge(&file, &merged);
    is_done = is_done && file_publish(folder_fd, plain, buf_slice(&merged), FILE_SYNC, error)
              && file_sync_folder(folder_fd, error);
    buf_finish(&old);
    buf_finish(&record);
    buf_finish(&labels);
    buf_finish(&merged);
    return is_done;
}

bool results_file_write(const struct gathered *g, const char *folder, struct slice page, const struct results *results,
                        struct error *error)
{
    bool is_done = true;
    if (slice_is_absent(page_setting(g->arena, g->page, g->form, SLICE("U-File"), 0)))
        return true;
    if (!file_make_folder(folder, 0750, error))
        return false;
    int folder_fd = file_open_folder(folder, error);
    if (folder_fd < 0)
        return false;
    pthread_mutex_lock(&writing);
    for (size_t i = 0; i < FILES_MAX && is_done; i++)
        if (!slice_is_absent(page_setting(g->arena, g->page, g->form, SLICE("U-File"), i)))
            is_done = write_one(g, folder_fd, i, page, results, error);
    pthread_mutex_unlock(&writing);
    close(folder_fd);
    return is_done;
}
