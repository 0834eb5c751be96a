/* shim: stands between a program and the C library, and counts, kills, fails, breaks or records (LD_PRELOAD).
 *
 * The word "point" means one call that changes the disk or the wire, of any thread or process that maps the same orders
 * (FAULTS_ORDERS names the file; struct orders; tests/faults/lib/orders.py writes it). With no orders the shim does nothing.
 *   kill    SIGKILL for the whole process group just before or just after point kill_at
 *   fail    a call of kind fail_call, number fail_at, fails with fail_errno; once, or from then on while is_failing
 *   short   the same, but a write or send takes only one octet
 *           Numbers are counted from when the orders were written, in all threads and processes together; releasing
 *           (is_failing = 0) ends it. CALL_MALLOC is every way to ask for memory, CALL_STEP SQLite's step (fail_errno is then
 *           SQLite's code). Put in front of AddressSanitizer's library (verify_asan_link_order=0), memory stays its.
 *   defect  a mistake of the relay's that is played: see enum defect
 *   record  every change of the disk, in order, into FAULTS_RECORD (lib/power.py reads it)
 *   image   at every image_every-th point FAULTS_IMAGE is cloned into FAULTS_CLONES (lib/images.py)
 *   clock   time runs clock_scale times as fast, and the wall clock is off by clock_jump_ms
 * FAULTS_INODES lists "device:inode recorded_inode born_s born_ns": what statx() says of files that were rebuilt. */
#undef _FILE_OFFSET_BITS /* both names of each call are defined here */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum call {
    CALL_NONE, CALL_OPEN, CALL_WRITE, CALL_PWRITE, CALL_SEND, CALL_RECV, CALL_FSYNC, CALL_FDATASYNC, CALL_RENAME,
    CALL_UNLINK, CALL_MKDIR, CALL_FTRUNCATE, CALL_FALLOCATE, CALL_CHMOD, CALL_CONNECT, CALL_READ, CALL_MALLOC,
    CALL_SOCKET, CALL_STAT, CALL_LINK, CALL_SYNCFS, CALL_PREAD, CALL_ACCEPT, CALL_EPOLL_CTL, CALL_EPOLL_WAIT, CALL_STEP,
    CALL_READDIR, CALL_COUNT
};

enum defect {
    DEFECT_NONE,
    DEFECT_BODY_NOT_SYNCED,          /* a large message's file is not synced */
    DEFECT_BODY_FOLDER_NOT_SYNCED,
    DEFECT_COMMIT_NOT_SYNCED,        /* the WAL is not */
    DEFECT_CLAIMS_NOT_SYNCED,        /* Pickup and .taken are not, before the origins go */
    DEFECT_UNLINK_BEFORE_COMMIT,     /* the claim is removed as soon as it is read */
    DEFECT_BADMAIL_NOT_SYNCED,       /* a refused message's copy or reason is not */
    DEFECT_BADMAIL_FOLDER_NOT_SYNCED,
    DEFECT_SUBMIT_NOT_SYNCED,        /* sendmail says 0 for a file that is not */
    DEFECT_SUBMIT_FOLDER_NOT_SYNCED,
    DEFECT_CLAIMS_NOT_READ,          /* the start does not look into .taken: an error of readdir passed over */
    DEFECT_ORIGIN_UNKNOWN,           /* a file that comes back is not recognised */
    DEFECT_CLAIM_NOT_REMOVED,        /* an unlink that failed passes for one that worked */
    DEFECT_BODY_AFTER_COMMIT,        /* the body's file gets its name behind the commit that names it */
    DEFECT_TORN_COMMIT,              /* half of a WAL frame is written, all of it is reported */
    DEFECT_OVERWRITE,                /* a claim that goes back to Pickup replaces a new file of that name */
    DEFECT_CLAIM_DROPPED,            /* a claim of an earlier process is removed, not given back */
    DEFECT_NO_LOCK,                  /* two relays may serve one folder */
    DEFECT_FSYNC_RETRIED,            /* an fsync that failed is repeated and then believed */
    DEFECT_NO_SPACE_IGNORED,         /* a write for which there is no room passes for done */
    DEFECT_NEVER_SETTLED,            /* outcomes are committed without being synced: played on commits after a reply */
    DEFECT_COUNT
};

struct orders {
    _Atomic uint64_t points;
    uint64_t kill_at;
    uint64_t kill_is_after;
    uint64_t fail_at, fail_call, fail_errno, fail_is_ever, fail_is_short;
    _Atomic uint64_t is_failing;
    _Atomic uint64_t failed;         /* calls that were made to fail */
    uint64_t defect;
    uint64_t clock_scale;
    _Atomic int64_t clock_jump_ms;
    uint64_t image_every, image_first; /* points at which the disk's image is cloned; 0: none */
    int64_t clock_base_ns[16];       /* by clock, when the orders were written */
    _Atomic uint64_t calls[CALL_COUNT];
    _Atomic uint64_t record_size;
    _Atomic uint64_t was_played;     /* the defect had its effect at least once */
    char killed_in[32];
};

static struct orders *orders;
static unsigned char *record_bytes;
static size_t record_room;
static char sent_end[8];
static char postponed_from[64], postponed_to[64];
static int postponed_fd = -1;

#define REAL(name) ((__typeof__(&name))real_of(#name))
static void *real_of(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

struct inode_row { unsigned long long device, inode, recorded; long long born_s; unsigned born_ns; };
static struct inode_row *inode_rows;
static size_t inode_count;

static void *map_file(const char *path, size_t *ret_size)
{
    struct stat is;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || syscall(SYS_fstat, fd, &is) != 0)
        return NULL;
    void *at = mmap(NULL, (size_t)is.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    *ret_size = (size_t)is.st_size;
    return at == MAP_FAILED ? NULL : at;
}

static void read_inodes(const char *path)
{
    char line[160];
    FILE *file = fopen(path, "r");
    if (!file)
        return;
    inode_rows = calloc(4096, sizeof *inode_rows);
    while (inode_count < 4096 && fgets(line, sizeof line, file)) {
        struct inode_row *row = &inode_rows[inode_count];
        if (sscanf(line, "%llu:%llu %llu %lld %u", &row->device, &row->inode, &row->recorded, &row->born_s,
                   &row->born_ns) == 5)
            inode_count++;
    }
    fclose(file);
}

__attribute__((constructor)) static void start(void)
{
    size_t size;
    const char *path = getenv("FAULTS_ORDERS"), *record = getenv("FAULTS_RECORD"), *inodes = getenv("FAULTS_INODES");
    if (record)
        record_bytes = map_file(record, &record_room);
    if (inodes)
        read_inodes(inodes);
    if (path)
        orders = map_file(path, &size);
}

/* ---- points ---- */

static void path_of_fd(int fd, char path[512]);
static bool ends_with(const char *text, const char *end);

/* Files, folders and sockets; but SQLite's shared index of the WAL, which is made anew after a crash. */
static bool is_changing(int fd)
{
    struct stat is;
    char path[512];
    if (syscall(SYS_fstat, fd, &is) != 0 || !(S_ISREG(is.st_mode) || S_ISSOCK(is.st_mode) || S_ISDIR(is.st_mode)))
        return false;
    if (!S_ISREG(is.st_mode))
        return true;
    path_of_fd(fd, path);
    return !ends_with(path, "-shm");
}

static void die(const char *name)
{
    snprintf(orders->killed_in, sizeof orders->killed_in, "%s", name);
    syscall(SYS_kill, 0, SIGKILL);
    for (;;)
        pause();
}

static uint64_t now_ns(void)
{
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The disk as it would be after a power cut now; its name says between which times that was. */
static void clone_image(uint64_t number)
{
    const char *image = getenv("FAULTS_IMAGE"), *clones = getenv("FAULTS_CLONES");
    char path[600], named[600];
    if (!image || !clones)
        return;
    snprintf(path, sizeof path, "%s/.%llu", clones, (unsigned long long)number);
    uint64_t begin_ns = now_ns();
    int from = (int)syscall(SYS_openat, AT_FDCWD, image, O_RDONLY | O_CLOEXEC);
    int to = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    bool is_done = from >= 0 && to >= 0 && syscall(SYS_ioctl, to, FICLONE, from) == 0;
    syscall(SYS_close, from);
    syscall(SYS_close, to);
    snprintf(named, sizeof named, "%s/%llu-%llu-%llu", clones, (unsigned long long)number, (unsigned long long)begin_ns,
             (unsigned long long)now_ns());
    if (is_done)
        syscall(SYS_renameat2, AT_FDCWD, path, AT_FDCWD, named, 0);
}

/* The number of this point, which ends here if it is the one to be killed before. */
static uint64_t point_begin(const char *name)
{
    if (!orders)
        return 0;
    uint64_t number = atomic_fetch_add(&orders->points, 1) + 1;
    if (number == orders->kill_at && !orders->kill_is_after)
        die(name);
    if (orders->image_every && number % orders->image_every == orders->image_first)
        clone_image(number);
    return number;
}

static void point_end(uint64_t number, const char *name)
{
    if (orders && number && number == orders->kill_at && orders->kill_is_after)
        die(name);
}

/* True if this call has to fail; errno is set. */
static bool must_fail(enum call call)
{
    if (!orders || !orders->fail_at)
        return false;
    uint64_t number = atomic_fetch_add(&orders->calls[call], 1) + 1;
    if (orders->fail_call != call || !orders->is_failing || orders->fail_is_short)
        return false;
    if (orders->fail_is_ever ? number < orders->fail_at : number != orders->fail_at)
        return false;
    atomic_fetch_add(&orders->failed, 1);
    errno = (int)orders->fail_errno;
    return true;
}

static size_t shortened(enum call call, size_t size)
{
    if (!orders || !orders->fail_at || !orders->fail_is_short || orders->fail_call != call || !orders->is_failing
        || size < 2)
        return size;
    uint64_t number = atomic_load(&orders->calls[call]);
    if (orders->fail_is_ever ? number < orders->fail_at : number != orders->fail_at)
        return size;
    atomic_fetch_add(&orders->failed, 1);
    return 1;
}

/* ---- defects ---- */

static void path_of_fd(int fd, char path[512])
{
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    long size = syscall(SYS_readlinkat, AT_FDCWD, link, path, 511);
    path[size > 0 ? size : 0] = '\0';
}

static bool ends_with(const char *text, const char *end)
{
    size_t size = strlen(text), end_size = strlen(end);
    return size >= end_size && strcmp(text + size - end_size, end) == 0;
}

static bool is_defect(enum defect defect)
{
    return orders && orders->defect == defect;
}

static bool play(bool is_played)
{
    if (is_played)
        orders->was_played = 1;
    return is_played;
}

static bool is_sync_skipped(int fd)
{
    char path[512];
    if (!orders || !orders->defect)
        return false;
    path_of_fd(fd, path);
    switch ((enum defect)orders->defect) {
    case DEFECT_BODY_NOT_SYNCED: return play(strstr(path, "/Queue/body/") != NULL);
    case DEFECT_BODY_FOLDER_NOT_SYNCED: return play(ends_with(path, "/Queue/body"));
    case DEFECT_COMMIT_NOT_SYNCED: return play(ends_with(path, "queue.db-wal"));
    case DEFECT_NEVER_SETTLED: return play(ends_with(path, "queue.db-wal") && strcmp(sent_end, "sent") == 0);
    case DEFECT_CLAIMS_NOT_SYNCED:
    case DEFECT_SUBMIT_FOLDER_NOT_SYNCED: return play(ends_with(path, "/Pickup") || ends_with(path, "/.taken"));
    case DEFECT_BADMAIL_NOT_SYNCED: return play(strstr(path, "/Badmail/") != NULL);
    case DEFECT_BADMAIL_FOLDER_NOT_SYNCED: return play(ends_with(path, "/Badmail"));
    case DEFECT_SUBMIT_NOT_SYNCED: return play(strstr(path, "/Pickup/.mailroot-") != NULL);
    default: return false;
    }
}

/* ---- the record: one row a change, "SIZE TYPE …" in binary, lib/power.py has the layout ---- */

enum row { ROW_CREATE = 1, ROW_WRITE, ROW_TRUNCATE, ROW_RENAME, ROW_UNLINK, ROW_MKDIR, ROW_SYNC, ROW_LINK, ROW_SYNCFS };

struct record_row {
    uint32_t size;      /* of row and data */
    uint32_t type;
    uint64_t time_ns;   /* monotonic */
    uint64_t inode, folder, folder2;
    uint64_t offset;
    uint32_t name_size, name2_size;
    uint64_t data_size;
};

static void record_lock(void)
{
    /* A spin lock in the record's first octet: it works between processes without being set up. */
    while (record_bytes && atomic_flag_test_and_set((atomic_flag *)record_bytes))
        syscall(SYS_nanosleep, &(struct timespec){0, 20000}, NULL);
}

static void record_unlock(void)
{
    if (record_bytes)
        atomic_flag_clear((atomic_flag *)record_bytes);
}

static void record_put(struct record_row row, const char *name, const char *name2, const void *data)
{
    row.name_size = name ? (uint32_t)strlen(name) : 0;
    row.name2_size = name2 ? (uint32_t)strlen(name2) : 0;
    size_t size = sizeof row + row.name_size + row.name2_size + row.data_size;
    row.size = (uint32_t)size;
    row.time_ns = now_ns();
    uint64_t at = 64 + orders->record_size;
    if (at + size > record_room)
        abort();
    memcpy(record_bytes + at, &row, sizeof row);
    at += sizeof row;
    if (row.name_size)
        memcpy(record_bytes + at, name, row.name_size);
    at += row.name_size;
    if (row.name2_size)
        memcpy(record_bytes + at, name2, row.name2_size);
    at += row.name2_size;
    if (row.data_size)
        memcpy(record_bytes + at, data, row.data_size);
    orders->record_size += size;
}

static uint64_t inode_at(int folder_fd, const char *name)
{
    struct stat is;
    return syscall(SYS_newfstatat, folder_fd, name, &is, name[0] ? AT_SYMLINK_NOFOLLOW : AT_EMPTY_PATH) == 0 ? is.st_ino
                                                                                                          : 0;
}

static uint64_t regular_inode(int fd)
{
    struct stat is;
    return syscall(SYS_fstat, fd, &is) == 0 && (S_ISREG(is.st_mode) || S_ISDIR(is.st_mode)) ? is.st_ino : 0;
}

/* The folder that `path` lies in (its inode) and the name there. */
static uint64_t folder_of(int folder_fd, const char *path, const char **ret_name)
{
    char folder[4096];
    const char *slash = strrchr(path, '/');
    *ret_name = slash ? slash + 1 : path;
    if (!slash)
        return folder_fd == AT_FDCWD ? inode_at(AT_FDCWD, ".") : inode_at(folder_fd, "");
    snprintf(folder, sizeof folder, "%.*s", (int)(slash - path ? slash - path : 1), path);
    return inode_at(folder_fd, folder);
}

static bool is_recording(void)
{
    return record_bytes && orders;
}

static void record_write(int fd, uint64_t offset, const void *data, long size)
{
    uint64_t inode = size > 0 ? regular_inode(fd) : 0;
    if (inode)
        record_put((struct record_row){.type = ROW_WRITE, .inode = inode, .offset = offset, .data_size = (uint64_t)size},
                   NULL, NULL, data);
}

/* ---- calls ---- */

static int do_open(int folder_fd, const char *path, int flags, mode_t mode)
{
    bool is_change = (flags & (O_CREAT | O_TRUNC)) != 0;
    if (must_fail(CALL_OPEN))
        return -1;
    if (!is_change)
        return (int)syscall(SYS_openat, folder_fd, path, flags, mode);
    uint64_t number = point_begin("open");
    record_lock();
    bool was_there = !is_recording() || inode_at(folder_fd, path) != 0;
    int fd = (int)syscall(SYS_openat, folder_fd, path, flags, mode);
    int saved = errno;
    if (is_recording() && fd >= 0 && regular_inode(fd)) {
        const char *name;
        uint64_t folder = folder_of(folder_fd, path, &name);
        if (!was_there)
            record_put((struct record_row){.type = ROW_CREATE, .inode = regular_inode(fd), .folder = folder}, name, NULL,
                       NULL);
        else if (flags & O_TRUNC)
            record_put((struct record_row){.type = ROW_TRUNCATE, .inode = regular_inode(fd)}, NULL, NULL, NULL);
    }
    record_unlock();
    point_end(number, "open");
    errno = saved;
    return fd;
}

#define MODE_OF(flags, mode) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { \
        va_list list; \
        va_start(list, flags); \
        mode = va_arg(list, mode_t); \
        va_end(list); \
    }

int open(const char *path, int flags, ...) { MODE_OF(flags, mode) return do_open(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE_OF(flags, mode) return do_open(AT_FDCWD, path, flags, mode); }
int openat(int fd, const char *path, int flags, ...) { MODE_OF(flags, mode) return do_open(fd, path, flags, mode); }
int openat64(int fd, const char *path, int flags, ...) { MODE_OF(flags, mode) return do_open(fd, path, flags, mode); }
int __open_2(const char *path, int flags) { return do_open(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return do_open(AT_FDCWD, path, flags, 0); }
int __openat_2(int fd, const char *path, int flags) { return do_open(fd, path, flags, 0); }
int __openat64_2(int fd, const char *path, int flags) { return do_open(fd, path, flags, 0); }

ssize_t write(int fd, const void *data, size_t size)
{
    if (!orders || !is_changing(fd))
        return syscall(SYS_write, fd, data, size);
    if (must_fail(CALL_WRITE)) {
        if (is_defect(DEFECT_NO_SPACE_IGNORED) && play(errno == ENOSPC))
            return (ssize_t)size;
        return -1;
    }
    uint64_t number = point_begin("write");
    record_lock();
    ssize_t done = syscall(SYS_write, fd, data, shortened(CALL_WRITE, size));
    int saved = errno;
    if (is_recording() && done > 0) {
        off_t end = syscall(SYS_lseek, fd, 0, SEEK_CUR);
        record_write(fd, (uint64_t)(end - done), data, done);
    }
    record_unlock();
    point_end(number, "write");
    errno = saved;
    return done;
}

static ssize_t do_pwrite(int fd, const void *data, size_t size, off_t at)
{
    char path[512];
    if (!orders || !is_changing(fd))
        return syscall(SYS_pwrite64, fd, data, size, at);
    if (must_fail(CALL_PWRITE)) {
        if (is_defect(DEFECT_NO_SPACE_IGNORED) && play(errno == ENOSPC))
            return (ssize_t)size;
        return -1;
    }
    /* SQLite takes room for a file by an octet a block, a thousand in a row: no points. */
    uint64_t number = size > 1 ? point_begin("pwrite") : 0;
    record_lock();
    size_t wanted = shortened(CALL_PWRITE, size);
    if (is_defect(DEFECT_TORN_COMMIT)) {
        path_of_fd(fd, path);
        if (play(ends_with(path, "-wal") && size > 1024))
            wanted = size / 2;
    }
    ssize_t done = syscall(SYS_pwrite64, fd, data, wanted, at);
    int saved = errno;
    if (is_recording())
        record_write(fd, (uint64_t)at, data, done);
    record_unlock();
    point_end(number, "pwrite");
    errno = saved;
    return is_defect(DEFECT_TORN_COMMIT) && done > 0 ? (ssize_t)size : done;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return do_pwrite(fd, data, size, at); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) { return do_pwrite(fd, data, size, at); }

ssize_t send(int fd, const void *data, size_t size, int flags)
{
    if (must_fail(CALL_SEND))
        return -1;
    uint64_t number = point_begin("send");
    memcpy(sent_end, "sent", 5);
    ssize_t done = syscall(SYS_sendto, fd, data, shortened(CALL_SEND, size), flags, NULL, 0);
    int saved = errno;
    point_end(number, "send");
    errno = saved;
    return done;
}

ssize_t recv(int fd, void *data, size_t size, int flags)
{
    if (must_fail(CALL_RECV))
        return -1;
    uint64_t number = point_begin("recv");
    ssize_t done = syscall(SYS_recvfrom, fd, data, size, flags, NULL, NULL);
    int saved = errno;
    point_end(number, "recv");
    errno = saved;
    return done;
}
ssize_t __recv_chk(int fd, void *data, size_t size, size_t room, int flags)
{
    (void)room;
    return recv(fd, data, size, flags);
}

int connect(int fd, const struct sockaddr *to, socklen_t size)
{
    if (must_fail(CALL_CONNECT))
        return -1;
    uint64_t number = point_begin("connect");
    int result = (int)syscall(SYS_connect, fd, to, size);
    int saved = errno;
    point_end(number, "connect");
    errno = saved;
    return result;
}

int socket(int domain, int type, int protocol)
{
    return must_fail(CALL_SOCKET) ? -1 : (int)syscall(SYS_socket, domain, type, protocol);
}

int accept4(int fd, struct sockaddr *from, socklen_t *size, int flags)
{
    return must_fail(CALL_ACCEPT) ? -1 : (int)syscall(SYS_accept4, fd, from, size, flags);
}
int accept(int fd, struct sockaddr *from, socklen_t *size) { return accept4(fd, from, size, 0); }

static ssize_t do_read(int fd, void *data, size_t size, off_t at)
{
    if (orders && is_changing(fd) && must_fail(at < 0 ? CALL_READ : CALL_PREAD))
        return -1;
    return at < 0 ? syscall(SYS_read, fd, data, size) : syscall(SYS_pread64, fd, data, size, at);
}
ssize_t read(int fd, void *data, size_t size) { return do_read(fd, data, size, -1); }
ssize_t pread(int fd, void *data, size_t size, off_t at) { return do_read(fd, data, size, at); }
ssize_t pread64(int fd, void *data, size_t size, off64_t at) { return do_read(fd, data, size, at); }
ssize_t __read_chk(int fd, void *data, size_t size, size_t room) { (void)room; return do_read(fd, data, size, -1); }
ssize_t __pread_chk(int fd, void *data, size_t size, off_t at, size_t room) { (void)room; return do_read(fd, data, size, at); }
ssize_t __pread64_chk(int fd, void *data, size_t size, off64_t at, size_t room)
{
    (void)room;
    return do_read(fd, data, size, at);
}

static void finish_postponed(void)
{
    if (postponed_fd < 0)
        return;
    syscall(SYS_renameat2, postponed_fd, postponed_from, postponed_fd, postponed_to, 0);
    syscall(SYS_close, postponed_fd);
    postponed_fd = -1;
}

static int do_sync(int fd, bool is_data)
{
    enum call call = is_data ? CALL_FDATASYNC : CALL_FSYNC;
    const char *name = is_data ? "fdatasync" : "fsync";
    if (must_fail(call))
        return is_defect(DEFECT_FSYNC_RETRIED) && play(true) ? 0 : -1;
    uint64_t number = point_begin(name);
    int result = 0;
    record_lock();
    if (!is_sync_skipped(fd)) {
        result = (int)syscall(is_data ? SYS_fdatasync : SYS_fsync, fd);
        if (is_recording() && result == 0 && regular_inode(fd))
            record_put((struct record_row){.type = ROW_SYNC, .inode = regular_inode(fd)}, NULL, NULL, NULL);
    }
    int saved = errno;
    record_unlock();
    point_end(number, name);
    char path[512];
    if (postponed_fd >= 0) {
        path_of_fd(fd, path);
        if (ends_with(path, "queue.db-wal"))
            finish_postponed();
    }
    errno = saved;
    return result;
}
int fsync(int fd) { return do_sync(fd, false); }
int fdatasync(int fd) { return do_sync(fd, true); }

int syncfs(int fd)
{
    (void)fd; /* the whole of it: what a test's file system would not do fast */
    if (must_fail(CALL_SYNCFS))
        return -1;
    uint64_t number = point_begin("syncfs");
    record_lock();
    if (is_recording() && !is_defect(DEFECT_SUBMIT_FOLDER_NOT_SYNCED))
        record_put((struct record_row){.type = ROW_SYNCFS}, NULL, NULL, NULL);
    record_unlock();
    point_end(number, "syncfs");
    return 0;
}

static bool is_folder(int fd, const char *end)
{
    char path[512];
    path_of_fd(fd, path);
    return ends_with(path, end);
}

/* -1: not played. */
static int play_rename(int from_fd, const char *from, int to_fd, const char *to, unsigned *flags)
{
    if (is_defect(DEFECT_BODY_AFTER_COMMIT) && play(is_folder(to_fd, "/Queue/body"))) {
        finish_postponed();
        snprintf(postponed_from, sizeof postponed_from, "%s", from);
        snprintf(postponed_to, sizeof postponed_to, "%s", to);
        postponed_fd = (int)syscall(SYS_fcntl, from_fd, F_DUPFD_CLOEXEC, 3);
        return 0;
    }
    if (is_defect(DEFECT_OVERWRITE) && play(is_folder(from_fd, "/.taken") && is_folder(to_fd, "/Pickup")))
        *flags = 0;
    if (is_defect(DEFECT_CLAIM_DROPPED) && play(is_folder(from_fd, "/.taken") && is_folder(to_fd, "/Pickup")))
        return (int)syscall(SYS_unlinkat, from_fd, from, 0);
    return -1;
}

static int do_rename(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    if (must_fail(CALL_RENAME))
        return -1;
    uint64_t number = point_begin("rename");
    record_lock();
    uint64_t inode = is_recording() ? inode_at(from_fd, from) : 0;
    int result = orders && orders->defect ? play_rename(from_fd, from, to_fd, to, &flags) : -1;
    if (result < 0)
        result = (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
    int saved = errno;
    if (is_recording() && result == 0) {
        const char *name, *name2;
        uint64_t folder = folder_of(from_fd, from, &name), folder2 = folder_of(to_fd, to, &name2);
        record_put((struct record_row){.type = ROW_RENAME, .inode = inode, .folder = folder, .folder2 = folder2}, name,
                   name2, NULL);
    }
    record_unlock();
    point_end(number, "rename");
    errno = saved;
    return result;
}
int rename(const char *from, const char *to) { return do_rename(AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int from_fd, const char *from, int to_fd, const char *to) { return do_rename(from_fd, from, to_fd, to, 0); }
int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    return do_rename(from_fd, from, to_fd, to, flags);
}

static int do_unlink(int fd, const char *path, int flags)
{
    if (must_fail(CALL_UNLINK))
        return -1;
    uint64_t number = point_begin("unlink");
    record_lock();
    uint64_t inode = is_recording() ? inode_at(fd, path) : 0;
    int result = 0, saved = 0;
    if (!(is_defect(DEFECT_CLAIM_NOT_REMOVED) && play(fd != AT_FDCWD && is_folder(fd, "/.taken")))) {
        result = (int)syscall(SYS_unlinkat, fd, path, flags);
        saved = errno;
        if (is_recording() && result == 0) {
            const char *name;
            uint64_t folder = folder_of(fd, path, &name);
            record_put((struct record_row){.type = ROW_UNLINK, .inode = inode, .folder = folder}, name, NULL, NULL);
        }
    }
    record_unlock();
    point_end(number, "unlink");
    errno = saved;
    return result;
}
int unlink(const char *path) { return do_unlink(AT_FDCWD, path, 0); }
int unlinkat(int fd, const char *path, int flags) { return do_unlink(fd, path, flags); }

static int do_mkdir(int fd, const char *path, mode_t mode)
{
    if (must_fail(CALL_MKDIR))
        return -1;
    uint64_t number = point_begin("mkdir");
    record_lock();
    int result = (int)syscall(SYS_mkdirat, fd, path, mode), saved = errno;
    if (is_recording() && result == 0) {
        const char *name;
        uint64_t folder = folder_of(fd, path, &name);
        record_put((struct record_row){.type = ROW_MKDIR, .inode = inode_at(fd, path), .folder = folder}, name, NULL, NULL);
    }
    record_unlock();
    point_end(number, "mkdir");
    errno = saved;
    return result;
}
int mkdir(const char *path, mode_t mode) { return do_mkdir(AT_FDCWD, path, mode); }
int mkdirat(int fd, const char *path, mode_t mode) { return do_mkdir(fd, path, mode); }

static int do_truncate(int fd, off_t size)
{
    if (must_fail(CALL_FTRUNCATE))
        return -1;
    uint64_t number = point_begin("ftruncate");
    record_lock();
    int result = (int)syscall(SYS_ftruncate, fd, size), saved = errno;
    if (is_recording() && result == 0 && regular_inode(fd))
        record_put((struct record_row){.type = ROW_TRUNCATE, .inode = regular_inode(fd), .offset = (uint64_t)size}, NULL,
                   NULL, NULL);
    record_unlock();
    point_end(number, "ftruncate");
    errno = saved;
    return result;
}
int ftruncate(int fd, off_t size) { return do_truncate(fd, size); }
int ftruncate64(int fd, off64_t size) { return do_truncate(fd, size); }

/* Room alone is no change that a crash could show: SQLite and we look at lengths. */
static int do_fallocate(int fd, int mode, off_t at, off_t size)
{
    if (must_fail(CALL_FALLOCATE))
        return -1;
    uint64_t number = point_begin("fallocate");
    record_lock();
    int result = (int)syscall(SYS_fallocate, fd, mode, at, size), saved = errno;
    if (is_recording() && result == 0 && !(mode & FALLOC_FL_KEEP_SIZE)) {
        struct stat is;
        if (syscall(SYS_fstat, fd, &is) == 0)
            record_put((struct record_row){.type = ROW_TRUNCATE, .inode = is.st_ino, .offset = (uint64_t)is.st_size}, NULL,
                       NULL, NULL);
    }
    record_unlock();
    point_end(number, "fallocate");
    errno = saved;
    return result;
}
int fallocate(int fd, int mode, off_t at, off_t size) { return do_fallocate(fd, mode, at, size); }
int fallocate64(int fd, int mode, off64_t at, off64_t size) { return do_fallocate(fd, mode, at, size); }

int chmod(const char *path, mode_t mode)
{
    if (must_fail(CALL_CHMOD))
        return -1;
    uint64_t number = point_begin("chmod");
    int result = (int)syscall(SYS_fchmodat, AT_FDCWD, path, mode), saved = errno;
    point_end(number, "chmod");
    errno = saved;
    return result;
}

int flock(int fd, int operation)
{
    if (is_defect(DEFECT_NO_LOCK) && play((operation & LOCK_EX) != 0))
        return 0;
    return (int)syscall(SYS_flock, fd, operation);
}

/* ---- what a file is ---- */

static const struct inode_row *row_of(unsigned long long device, unsigned long long inode)
{
    for (size_t i = 0; i < inode_count; i++)
        if (inode_rows[i].inode == inode && inode_rows[i].device == device)
            return &inode_rows[i];
    return NULL;
}

int statx(int fd, const char *restrict path, int flags, unsigned mask, struct statx *restrict is)
{
    if (must_fail(CALL_STAT))
        return -1;
    int result = (int)syscall(SYS_statx, fd, path, flags, mask, is);
    if (result != 0)
        return result;
    const struct inode_row *row =
        row_of(((unsigned long long)is->stx_dev_major << 8) | is->stx_dev_minor, is->stx_ino);
    if (row) {
        is->stx_ino = row->recorded;
        is->stx_btime.tv_sec = row->born_s;
        is->stx_btime.tv_nsec = row->born_ns;
    }
    if (is_defect(DEFECT_ORIGIN_UNKNOWN) && play(true))
        is->stx_btime.tv_nsec = (unsigned)getpid();
    return 0;
}

static int do_fstatat(int fd, const char *path, struct stat *is, int flags)
{
    int result = (int)syscall(SYS_newfstatat, fd, path, is, flags);
    if (is_defect(DEFECT_UNLINK_BEFORE_COMMIT) && fd >= 0 && play(is_folder(fd, "/.taken")))
        unlinkat(fd, path, 0);
    const struct inode_row *row = result == 0 && inode_count ? row_of(is->st_dev, is->st_ino) : NULL;
    if (row)
        is->st_ino = row->recorded;
    return result;
}
int fstatat(int fd, const char *restrict path, struct stat *restrict is, int flags) { return do_fstatat(fd, path, is, flags); }
int fstatat64(int fd, const char *restrict path, struct stat64 *restrict is, int flags)
{
    return do_fstatat(fd, path, (struct stat *)is, flags);
}

struct dirent64 *readdir64(DIR *dir)
{
    if (is_defect(DEFECT_CLAIMS_NOT_READ) && play(is_folder(dirfd(dir), "/.taken")))
        return NULL;
    if (must_fail(CALL_READDIR))
        return NULL;
    return REAL(readdir64)(dir);
}
struct dirent *readdir(DIR *dir)
{
    return (struct dirent *)readdir64(dir);
}

/* ---- memory ---- */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
/* AddressSanitizer's, where it is there: what it gives has to come from it, or it can't see leaks. */
__attribute__((weak)) void *__interceptor_malloc(size_t size);
__attribute__((weak)) void *__interceptor_calloc(size_t count, size_t size);
__attribute__((weak)) void *__interceptor_realloc(void *old, size_t size);

void *malloc(size_t size)
{
    if (must_fail(CALL_MALLOC))
        return NULL;
    return __interceptor_malloc ? __interceptor_malloc(size) : __libc_malloc(size);
}
void *calloc(size_t count, size_t size)
{
    if (must_fail(CALL_MALLOC))
        return NULL;
    return __interceptor_calloc ? __interceptor_calloc(count, size) : __libc_calloc(count, size);
}
void *realloc(void *old, size_t size)
{
    if (must_fail(CALL_MALLOC))
        return NULL;
    return __interceptor_realloc ? __interceptor_realloc(old, size) : __libc_realloc(old, size);
}

/* ---- SQLite ---- */

struct sqlite3;
struct sqlite3_stmt;
const char *sqlite3_sql(struct sqlite3_stmt *statement);
struct sqlite3 *sqlite3_db_handle(struct sqlite3_stmt *statement);
int sqlite3_db_readonly(struct sqlite3 *db, const char *name);
int sqlite3_step(struct sqlite3_stmt *statement);

/* What SQLite does for itself (reading its schema) has errors of its own, which only it can make. */
static bool is_sqlites_own(const void *caller)
{
    Dl_info info;
    return dladdr(caller, &info) && info.dli_fname && strstr(info.dli_fname, "libsqlite3");
}

/* Giving up a transaction can't fail, nor can the end of one that only read. */
static bool is_giving_up(struct sqlite3_stmt *statement)
{
    const char *text = REAL(sqlite3_sql)(statement);
    return text && (strncmp(text, "ROLLBACK", 8) == 0
                    || (strncmp(text, "COMMIT", 6) == 0
                        && REAL(sqlite3_db_readonly)(REAL(sqlite3_db_handle)(statement), "main")));
}

int sqlite3_step(struct sqlite3_stmt *statement)
{
    static int (*real)(struct sqlite3_stmt *);
    if (!real)
        real = REAL(sqlite3_step);
    if (orders && orders->fail_call == CALL_STEP && !is_sqlites_own(__builtin_return_address(0)) && !is_giving_up(statement)
        && must_fail(CALL_STEP))
        return (int)orders->fail_errno;
    return real(statement);
}

/* ---- time ---- */

int clock_gettime(clockid_t clock, struct timespec *ret_now)
{
    int result = (int)syscall(SYS_clock_gettime, clock, ret_now);
    if (result != 0 || !orders || clock < 0 || clock > 15 || !orders->clock_base_ns[clock])
        return result;
    int64_t now = ret_now->tv_sec * 1000000000 + ret_now->tv_nsec, base = orders->clock_base_ns[clock];
    if (orders->clock_scale > 1)
        now = base + (now - base) * (int64_t)orders->clock_scale;
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)
        now += orders->clock_jump_ms * 1000000;
    ret_now->tv_sec = now / 1000000000;
    ret_now->tv_nsec = now % 1000000000;
    return 0;
}

/* Until a time of the fast clock. */
int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until)
{
    static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    if (!real)
        real = (__typeof__(real))dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
    int64_t base = orders ? orders->clock_base_ns[until->tv_sec > 1000000000 ? CLOCK_REALTIME : CLOCK_MONOTONIC] : 0;
    if (!base || orders->clock_scale <= 1)
        return real(cond, mutex, until);
    int64_t at = until->tv_sec * 1000000000 + until->tv_nsec;
    at = base + (at - base) / (int64_t)orders->clock_scale;
    struct timespec sooner = {at / 1000000000, at % 1000000000};
    return real(cond, mutex, &sooner);
}

static int scaled(int wait_ms)
{
    if (wait_ms <= 0 || !orders || orders->clock_scale <= 1)
        return wait_ms;
    int wait = wait_ms / (int)orders->clock_scale;
    return wait ? wait : 1;
}

int poll(struct pollfd *watched, nfds_t count, int wait_ms)
{
    return (int)syscall(SYS_poll, watched, count, scaled(wait_ms));
}
int __poll_chk(struct pollfd *watched, nfds_t count, int wait_ms, size_t room) { (void)room; return poll(watched, count, wait_ms); }

/* How the supervisor waits for its children. */
int sigtimedwait(const sigset_t *restrict set, siginfo_t *restrict info, const struct timespec *restrict wait)
{
    int64_t left_ns = wait->tv_sec * 1000000000 + wait->tv_nsec;
    if (orders && orders->clock_scale > 1)
        left_ns /= (int64_t)orders->clock_scale;
    struct timespec left = {left_ns / 1000000000, left_ns % 1000000000};
    return (int)syscall(SYS_rt_sigtimedwait, set, info, &left, 8);
}

int epoll_ctl(int fd, int operation, int watched, struct epoll_event *event)
{
    return must_fail(CALL_EPOLL_CTL) ? -1 : (int)syscall(SYS_epoll_ctl, fd, operation, watched, event);
}

int epoll_wait(int fd, struct epoll_event *events, int count, int wait_ms)
{
    if (must_fail(CALL_EPOLL_WAIT))
        return -1;
    return (int)syscall(SYS_epoll_pwait, fd, events, count, scaled(wait_ms), NULL, 8);
}

unsigned sleep(unsigned seconds)
{
    struct timespec wait = {seconds, 0};
    if (orders && orders->clock_scale > 1)
        wait = (struct timespec){0, (long)(seconds * 1000000000ull / orders->clock_scale % 1000000000ull)};
    return syscall(SYS_nanosleep, &wait, NULL) == 0 ? 0 : 1;
}
