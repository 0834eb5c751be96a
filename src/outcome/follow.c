#include "outcome/follow.h"

#include "base/json.h"
#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_SIZE = 256 * 1024, STATE_SIZE_MAX = 1 << 20 };

static bool identify(int fd, struct follow_place *ret_place, uint64_t *ret_size)
{
    struct statx is;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME | STATX_SIZE, &is) != 0 || !S_ISREG(is.stx_mode))
        return false;
    *ret_place = (struct follow_place){is.stx_ino, (int64_t)is.stx_btime.tv_sec * 1000000000 + is.stx_btime.tv_nsec, 0};
    *ret_size = is.stx_size;
    return true;
}

static bool is_same_file(const struct follow_place *a, const struct follow_place *b)
{
    return a->inode == b->inode && a->born_ns == b->born_ns;
}

/* The log, or its rotated file of that number; -1 if there is none. */
static int open_file(const struct follower *follower, int number, struct follow_place *ret_place)
{
    char path[4200];
    uint64_t size;
    if (!follower->config->events.file[0])
        return -1;
    if (number)
        (void)snprintf(path, sizeof path, "%s.%d", follower->config->events.file, number);
    else
        (void)snprintf(path, sizeof path, "%s", follower->config->events.file);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd >= 0 && !identify(fd, ret_place, &size)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* The file of that place. Files move to higher numbers while this looks, never past it. `*ret_younger`: the file after it, -1 if it is
 * the youngest; with no such file -1 and in *ret_younger the oldest there is. */
static int find_file(const struct follower *follower, const struct follow_place *wanted, int *ret_younger, struct follow_place *ret_place)
{
    struct follow_place place;
    *ret_younger = -1;
    for (int number = 0; number <= follower->config->events.keep; number++) {
        int fd = open_file(follower, number, &place);
        if (fd < 0)
            continue;
        if (is_same_file(&place, wanted))
            return fd;
        if (*ret_younger >= 0)
            close(*ret_younger);
        *ret_younger = fd;
        *ret_place = place;
    }
    return -1;
}

static void enter(struct follower *follower, int fd, const struct follow_place *place)
{
    if (follower->fd >= 0)
        close(follower->fd);
    follower->fd = fd;
    follower->at = *place;
    follower->given = 0;
    buf_clear(&follower->read);
}

static bool read_more(struct follower *follower)
{
    if (follower->fd < 0)
        return false;
    buf_remove_front(&follower->read, follower->given);
    follower->given = 0;
    char *room = buf_reserve(&follower->read, READ_SIZE);
    ssize_t got = pread(follower->fd, room, READ_SIZE, (off_t)(follower->at.offset + follower->read.size));
    if (got <= 0)
        return false;
    follower->read.size += (size_t)got;
    return true;
}

/* To the file after the one that is open, if it was rotated; or to the first that there is. */
static bool go_on(struct follower *follower)
{
    int younger;
    struct follow_place place;
    int fd = find_file(follower, &follower->at, &younger, &place);
    if (fd >= 0)
        close(fd);
    else if (follower->at.inode && younger >= 0)
        follower->is_lost = true;
    if (younger < 0)
        return false;
    if (read_more(follower)) { /* what was written between our last look and the rotation */
        close(younger);
        return true;
    }
    enter(follower, younger, &place);
    return true;
}

static bool take_line(struct follower *follower, struct slice *ret_line)
{
    struct slice rest = slice_from(buf_slice(&follower->read), follower->given);
    ptrdiff_t end = slice_find_byte(rest, '\n');
    if (end < 0)
        return false;
    *ret_line = slice_first(rest, (size_t)end);
    follower->given += (size_t)end + 1;
    follower->at.offset += (uint64_t)end + 1;
    return true;
}

bool follower_next(struct follower *follower, struct slice *ret_line)
{
    while (!take_line(follower, ret_line))
        if (!read_more(follower) && !go_on(follower))
            return false;
    return true;
}

uint64_t follower_left(const struct follower *follower)
{
    struct follow_place place;
    uint64_t size;
    return follower->fd >= 0 && identify(follower->fd, &place, &size) && size > follower->at.offset ? size - follower->at.offset : 0;
}

void follower_start(struct follower *follower, const struct config *config, const struct follow_place *place, uint64_t back)
{
    struct follow_place found = {0};
    uint64_t size = 0;
    int younger = -1;
    *follower = (struct follower){.config = config, .fd = -1, .at = *place};
    if (place->inode) {
        follower->fd = find_file(follower, place, &younger, &found);
        if (younger >= 0)
            close(younger);
        return;
    }
    int fd = open_file(follower, 0, &found);
    if (fd < 0 || !identify(fd, &found, &size))
        return;
    found.offset = size > back ? size - back : 0;
    enter(follower, fd, &found);
}

void follower_finish(struct follower *follower)
{
    if (follower->fd >= 0)
        close(follower->fd);
    buf_finish(&follower->read);
    follower->fd = -1;
}

void follow_put_place(const struct follow_place *place, struct buf *out)
{
    json_open(out, '{');
    json_put_number(out, "inode", (int64_t)place->inode);
    json_put_number(out, "born_ns", place->born_ns);
    json_put_number(out, "offset", (int64_t)place->offset);
}

struct follow_place follow_place_of(const json_t *state)
{
    return (struct follow_place){.inode = (uint64_t)json_integer_value(json_object_get(state, "inode")),
                                 .born_ns = json_integer_value(json_object_get(state, "born_ns")),
                                 .offset = (uint64_t)json_integer_value(json_object_get(state, "offset"))};
}

bool follow_load(int folder_fd, const char *name, json_t **ret_state, struct error *error)
{
    struct buf text = {0};
    *ret_state = NULL;
    int fd = openat(folder_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT || error_set_errno(error, name);
    bool is_read = file_read(fd, STATE_SIZE_MAX, &text, error);
    close(fd);
    if (is_read)
        *ret_state = json_loadb(buf_slice(&text).data, text.size, 0, NULL);
    buf_finish(&text);
    return is_read;
}
