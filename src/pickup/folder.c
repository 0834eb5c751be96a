#include "pickup/folder.h"

#include "base/hash.h"
#include "base/mem.h"
#include "os/clock.h"
#include "os/file.h"
#include "store/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/stat.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Files found lying on a file system without leases, until they have rested. */
struct resting {
    char name[FOLDER_NAME_SIZE];
    uint64_t size;
    int64_t changed_ns;
    int64_t since_mono_ms;
    UT_hash_handle hh;
};

struct folder {
    char *path;
    int fd, taken_fd;
    int64_t settle_ms;
    uint64_t size_max;
    bool is_linked_to;       /* folder_expect_links() */
    struct resting *resting;
};

enum { RESTING_MAX = 100000 };

struct folder *folder_open(const char *path, int64_t settle_ms, uint64_t size_max, struct error *error)
{
    struct folder *folder = mem_alloc(sizeof *folder);
    folder->fd = folder->taken_fd = -1;
    folder->path = mem_copy_text(path);
    folder->settle_ms = settle_ms;
    folder->size_max = size_max;
    folder->fd = file_open_folder(path, error);
    if (folder->fd < 0)
        goto failed;
    if (mkdirat(folder->fd, ".taken", 0700) != 0 && errno != EEXIST) {
        (void)error_set_errno(error, "can't make the folder .taken in it");
        (void)error_prefix(error, "%s", path);
        goto failed;
    }
    folder->taken_fd = openat(folder->fd, ".taken", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat is;
    if (folder->taken_fd < 0 || fstat(folder->taken_fd, &is) != 0) {
        (void)error_set_errno(error, "can't open its folder .taken");
        (void)error_prefix(error, "%s", path);
        goto failed;
    }
    if (is.st_uid != geteuid() || (is.st_mode & 077) != 0) {
        (void)error_set(error, "%s/.taken: must belong to the relay's user and be closed to others", path);
        goto failed;
    }
    return folder;
failed:
    folder_close(&folder);
    return NULL;
}

void folder_expect_links(struct folder *folder)
{
    folder->is_linked_to = true;
}

void folder_close(struct folder **folder)
{
    struct folder *f = *folder;
    if (!f)
        return;
    struct resting *resting, *next;
    HASH_ITER(hh, f->resting, resting, next) {
        HASH_DEL(f->resting, resting);
        free(resting);
    }
    if (f->taken_fd >= 0)
        close(f->taken_fd);
    if (f->fd >= 0)
        close(f->fd);
    free(f->path);
    free(f);
    *folder = NULL;
}

int folder_fd(const struct folder *folder)
{
    return folder->fd;
}

int folder_taken_fd(const struct folder *folder)
{
    return folder->taken_fd;
}

bool folder_leaves_alone(const char *name)
{
    struct slice text = slice_of(name);
    return text.size == 0 || name[0] == '.' || slice_ends_nocase(text, SLICE(".tmp"))
           || slice_ends_nocase(text, SLICE(".part"));
}

static struct origin origin_of(const struct statx *is)
{
    const struct statx_timestamp *born = is->stx_mask & STATX_BTIME ? &is->stx_btime : &is->stx_mtime;
    return (struct origin){is->stx_ino, born->tv_sec * 1000000000 + born->tv_nsec};
}

static const char *irregular(unsigned mode)
{
    return S_ISLNK(mode)    ? "a symbolic link"
           : S_ISFIFO(mode) ? "a FIFO"
           : S_ISSOCK(mode) ? "a socket"
                            : "a device";
}

/* What a name that open(2) would not give us is. */
static enum claim_result cannot_open(struct folder *folder, const char *name, int why, struct error *error)
{
    struct stat is;
    if (why == ENOENT)
        return CLAIM_GONE;
    if (fstatat(folder->fd, name, &is, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISREG(is.st_mode)
        && !S_ISDIR(is.st_mode)) {
        (void)error_set(error, "not a plain file but %s", irregular(is.st_mode));
        return CLAIM_REFUSED;
    }
    (void)error_set(error, "can't be read: %s", strerrordesc_np(why));
    return CLAIM_LEFT;
}

static enum claim_result look(struct folder *folder, const struct statx *is, struct error *error)
{
    if (S_ISDIR(is->stx_mode)) {
        (void)error_set(error, "a folder without folder.conf is left alone");
        return CLAIM_LEFT;
    }
    if (!S_ISREG(is->stx_mode)) {
        (void)error_set(error, "not a plain file but %s", irregular(is->stx_mode));
        return CLAIM_REFUSED;
    }
    if (is->stx_nlink > 1 && folder->is_linked_to)
        return CLAIM_BUSY;
    if (is->stx_nlink > 1) {
        (void)error_set(error, "%u links: only a file with one name is read", is->stx_nlink);
        return CLAIM_REFUSED;
    }
    if (is->stx_nlink == 0)
        return CLAIM_GONE;
    if (is->stx_size > folder->size_max) {
        (void)error_set(error, "too large: %llu octets, at most %llu are taken (limits.message_size)",
                        (unsigned long long)is->stx_size, (unsigned long long)folder->size_max);
        return CLAIM_REFUSED;
    }
    if (is->stx_attributes & (STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND)) {
        (void)error_set(error, "immutable (chattr): it could not be removed after sending");
        return CLAIM_LEFT;
    }
    return CLAIM_TAKEN;
}

static bool has_rested(struct folder *folder, const char *name, const struct statx *is)
{
    struct resting *resting;
    int64_t changed_ns = is->stx_mtime.tv_sec * 1000000000 + is->stx_mtime.tv_nsec;
    int64_t now_ms = clock_mono_ms();

    HASH_FIND_STR(folder->resting, name, resting);
    if (!resting) {
        if (HASH_COUNT(folder->resting) >= RESTING_MAX)
            return false;
        resting = mem_alloc(sizeof *resting);
        (void)snprintf(resting->name, sizeof resting->name, "%s", name);
        HASH_ADD_STR(folder->resting, name, resting);
    } else if (resting->size == is->stx_size && resting->changed_ns == changed_ns) {
        return now_ms - resting->since_mono_ms >= folder->settle_ms;
    }
    resting->size = is->stx_size;
    resting->changed_ns = changed_ns;
    resting->since_mono_ms = now_ms;
    return folder->settle_ms == 0;
}

static void forget_resting(struct folder *folder, const char *name)
{
    struct resting *resting;
    if (!folder->resting)
        return;
    HASH_FIND_STR(folder->resting, name, resting);
    if (resting) {
        HASH_DEL(folder->resting, resting);
        free(resting);
    }
}

/* F2. The lease, once held, keeps writers out until the descriptor is closed. */
static bool is_finished(struct folder *folder, int fd, const char *name, enum claim_seen seen,
                        const struct statx *is)
{
    if (fcntl(fd, F_SETLEASE, F_RDLCK) == 0)
        return true;
    if (errno == EAGAIN)
        return false;
    if (flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return false;
    return seen == SEEN_FINISHED || has_rested(folder, name, is);
}

static void name_taken(struct claim *claim)
{
    char id[17];
    store_id_text(claim->id, id);
    (void)snprintf(claim->taken_name, sizeof claim->taken_name, "%s.%.238s", id, claim->name);
}

/* F3, F4. */
static enum claim_result move_away(struct folder *folder, struct claim *claim, struct error *error)
{
    struct stat is;
    if (renameat2(folder->fd, claim->name, folder->taken_fd, claim->taken_name, RENAME_NOREPLACE) != 0) {
        if (errno == ENOENT)
            return CLAIM_GONE;
        (void)error_set(error, "can't be moved out of Pickup (%s): not sent, since it could not be removed",
                        strerrordesc_np(errno));
        return CLAIM_LEFT;
    }
    if (fstatat(folder->taken_fd, claim->taken_name, &is, AT_SYMLINK_NOFOLLOW) == 0
        && is.st_ino == claim->origin.inode)
        return CLAIM_TAKEN;
    return folder_give_back(folder, claim) ? CLAIM_BUSY : CLAIM_STRAY;
}

enum claim_result folder_claim(struct folder *folder, const char *name, enum claim_seen seen,
                               struct ids *ids, struct claim *ret_claim, struct error *error)
{
    struct statx is;
    if (folder_leaves_alone(name) || strlen(name) >= FOLDER_NAME_SIZE)
        return CLAIM_GONE;
    int fd = openat(folder->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return cannot_open(folder, name, errno, error);
    if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &is) != 0) {
        (void)error_set_errno(error, "statx");
        close(fd);
        return CLAIM_LEFT;
    }
    enum claim_result result = look(folder, &is, error);
    if (result == CLAIM_TAKEN && !is_finished(folder, fd, name, seen, &is))
        result = CLAIM_BUSY;
    if (result == CLAIM_TAKEN) {
        *ret_claim = (struct claim){.id = ids_next(ids, clock_wall_ms()), .fd = fd,
                                    .origin = origin_of(&is), .uid = is.stx_uid, .size = is.stx_size,
                                    .appeared_ms = is.stx_ctime.tv_sec * 1000 + is.stx_ctime.tv_nsec / 1000000};
        (void)snprintf(ret_claim->name, sizeof ret_claim->name, "%s", name);
        name_taken(ret_claim);
        result = move_away(folder, ret_claim, error);
    }
    if (result != CLAIM_TAKEN)
        close(fd);
    if (result != CLAIM_BUSY)
        forget_resting(folder, name);
    return result;
}

bool folder_forget(struct folder *folder, const struct claim *claim)
{
    return unlinkat(folder->taken_fd, claim->taken_name, 0) == 0 || errno == ENOENT;
}

/* False: it stays in .taken. */
static bool give_back_name(struct folder *folder, const char *taken_name, const char *name)
{
    char other[FOLDER_NAME_SIZE];
    if (renameat2(folder->taken_fd, taken_name, folder->fd, name, RENAME_NOREPLACE) == 0 || errno == ENOENT)
        return true;
    if (errno != EEXIST)
        return false;
    /* A power cut may leave both names of a rename: then the file is there already. */
    struct stat taken, there;
    if (fstatat(folder->taken_fd, taken_name, &taken, AT_SYMLINK_NOFOLLOW) == 0
        && fstatat(folder->fd, name, &there, AT_SYMLINK_NOFOLLOW) == 0 && taken.st_ino == there.st_ino) {
        return unlinkat(folder->taken_fd, taken_name, 0) == 0; /* refused for its two links if this fails */
    }
    /* A new file has that name: both are kept. */
    (void)snprintf(other, sizeof other, "%.16s.%.238s", taken_name, name);
    return renameat2(folder->taken_fd, taken_name, folder->fd, other, RENAME_NOREPLACE) == 0;
}

bool folder_give_back(struct folder *folder, const struct claim *claim)
{
    return give_back_name(folder, claim->taken_name, claim->name);
}

bool folder_sync(struct folder *folder, struct error *error)
{
    return file_sync_folder(folder->fd, error) && file_sync_folder(folder->taken_fd, error);
}

bool folder_each_name(int folder_fd, folder_name_fn *fn, void *arg, struct error *error)
{
    int fd = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        if (fd >= 0)
            close(fd);
        return error_set_errno(error, "opendir");
    }
    const struct dirent *entry;
    errno = 0;
    while ((entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            fn(arg, entry->d_name, entry->d_type);
        errno = 0;
    }
    bool is_done = errno == 0 || error_set_errno(error, "readdir");
    closedir(dir);
    return is_done;
}

struct recovery {
    struct folder *folder;
    folder_known_fn *is_known;
    void *arg;
    int fd;
    bool is_clean;
};

/* What can't be looked at may be known: it stays where it is. */
static bool recover_known(struct recovery *recovery, const char *name, bool *ret_is_known)
{
    struct statx is;
    *ret_is_known = false;
    if (statx(recovery->fd, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, &is) != 0)
        return errno == ENOENT;
    if (S_ISREG(is.stx_mode)) {
        struct origin origin = origin_of(&is);
        *ret_is_known = recovery->is_known(recovery->arg, &origin);
    }
    return true;
}

static void recover_taken(void *arg, const char *name, unsigned char type)
{
    struct recovery *recovery = arg;
    (void)type;
    bool is_known, is_done = recover_known(recovery, name, &is_known);
    if (is_done)
        is_done = is_known ? unlinkat(recovery->fd, name, 0) == 0 || errno == ENOENT
                           : give_back_name(recovery->folder, name, strlen(name) > 17 ? name + 17 : name);
    recovery->is_clean = recovery->is_clean && is_done;
}

static void recover_lying(void *arg, const char *name, unsigned char type)
{
    struct recovery *recovery = arg;
    (void)type;
    bool is_known, is_done = folder_leaves_alone(name) || recover_known(recovery, name, &is_known);
    if (is_done && !folder_leaves_alone(name) && is_known)
        is_done = unlinkat(recovery->fd, name, 0) == 0 || errno == ENOENT;
    recovery->is_clean = recovery->is_clean && is_done;
}

bool folder_recover(struct folder *folder, folder_known_fn *is_known, void *arg, bool *ret_is_clean, struct error *error)
{
    struct recovery lying = {folder, is_known, arg, folder->fd, true};
    struct recovery taken = {folder, is_known, arg, folder->taken_fd, true};
    bool is_done = folder_each_name(folder->fd, recover_lying, &lying, error)
                   && folder_each_name(folder->taken_fd, recover_taken, &taken, error) && folder_sync(folder, error);
    *ret_is_clean = lying.is_clean && taken.is_clean;
    return is_done;
}
