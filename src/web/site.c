#include "web/site.h"

#include "os/file.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct { const char *ending, *type; } kinds[] = {
    {".htm", "text/html"},        {".html", "text/html"},      {".css", "text/css"},         {".js", "text/javascript"},
    {".gif", "image/gif"},        {".jpg", "image/jpeg"},      {".jpeg", "image/jpeg"},      {".png", "image/png"},
    {".ico", "image/x-icon"},     {".webp", "image/webp"},     {".svg", "image/svg+xml"},    {".pdf", "application/pdf"},
    {".woff", "font/woff"},       {".woff2", "font/woff2"},    {".ttf", "font/ttf"},
};

static const char *type_of(struct slice path, bool *ret_is_page)
{
    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        if (slice_ends_nocase(path, slice_of(kinds[i].ending))) {
            *ret_is_page = i < 2;
            return kinds[i].type;
        }
    return NULL;
}

static bool is_plain_name(struct slice name)
{
    if (name.size == 0 || name.data[0] == '.' || name.size > 255)
        return false;
    for (size_t i = 0; i < name.size; i++)
        if ((unsigned char)name.data[i] < 0x20 || name.data[i] == '\\' || name.data[i] == 0x7f)
            return false;
    return true;
}

static bool is_path(struct slice path)
{
    struct slice rest = slice_from(path, 1);
    if (path.size > 2000)
        return false;
    while (rest.size)
        if (!is_plain_name(slice_cut(&rest, '/')))
            return false;
    return true;
}

static int open_beneath(const char *folder, const char *name)
{
    struct open_how how = {.flags = O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    int folder_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder_fd < 0)
        return -1;
    int fd = (int)syscall(SYS_openat2, folder_fd, name, &how, sizeof how);
    close(folder_fd);
    return fd;
}

static bool read_plain(int fd, struct buf *out)
{
    struct stat is;
    struct error error;
    return fstat(fd, &is) == 0 && S_ISREG(is.st_mode) && file_read(fd, SITE_FILE_SIZE_MAX, out, &error);
}

static bool open_one(const char *folder, struct arena *arena, struct slice path, struct site_file *ret_file)
{
    *ret_file = (struct site_file){.path = path};
    ret_file->type = type_of(path, &ret_file->is_page);
    if (!ret_file->type)
        return false;
    int fd = open_beneath(folder, arena_text(arena, slice_from(path, 1)));
    if (fd < 0)
        return false;
    bool is_read = read_plain(fd, &ret_file->content);
    close(fd);
    if (!is_read)
        buf_finish(&ret_file->content);
    return is_read;
}

bool site_open(const char *folder, struct arena *arena, struct slice path, struct site_file *ret_file)
{
    static const char *const indexes[] = {"index.htm", "index.html", "default.htm"};
    if (path.size == 0 || path.data[0] != '/')
        return false;
    bool is_folder = path.data[path.size - 1] == '/';
    if (!is_path(is_folder ? slice_first(path, path.size - 1) : path) && path.size > 1)
        return false;
    for (size_t i = 0; is_folder && i < COUNT_OF(indexes); i++)
        if (open_one(folder, arena, arena_printf(arena, "%.*s%s", SLICE_FMT(path), indexes[i]), ret_file))
            return true;
    return !is_folder && open_one(folder, arena, path, ret_file);
}

struct slice site_resolve(struct arena *arena, struct slice base, struct slice reference)
{
    struct buf out = {0};
    size_t end = base.size;
    while (end > 0 && base.data[end - 1] != '/')
        end--;
    if (reference.size && reference.data[0] == '/')
        end = 0;
    buf_append(&out, slice_first(base, end));
    while (reference.size) {
        struct slice step = slice_cut(&reference, '/');
        bool is_last = reference.size == 0;
        if (slice_equals(step, SLICE("."))  || (step.size == 0 && !is_last))
            continue;
        if (!slice_equals(step, SLICE(".."))) {
            if (out.size == 0)
                buf_append_byte(&out, '/');
            buf_append(&out, step);
            if (!is_last)
                buf_append_byte(&out, '/');
            continue;
        }
        if (out.size <= 1) {
            buf_finish(&out);
            return SLICE_NONE;
        }
        for (out.size--; out.size > 0 && out.data[out.size - 1] != '/';)
            out.size--;
    }
    struct slice result = out.size ? arena_copy(arena, buf_slice(&out)) : SLICE("/");
    buf_finish(&out);
    return result;
}
