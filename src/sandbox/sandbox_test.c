/* Each forbidden act in a process of its own, which has entered the sandbox. */
#include "sandbox/sandbox_private.h"

#include "base/slice.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
/* after the standard headers */
#include <cmocka.h>

static char outside[64], inside[64];

enum { DIED = 1000 };

/* What became of act() inside: errno, 0 for success, DIED + signal. */
static int attempt(enum sandbox_role role, enum sandbox_access access, int (*act)(void))
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        struct sandbox_path paths[] = {{inside, access}};
        struct error error;
        const char *missing;
        if (!sandbox_enter(role, paths, 1, &missing, &error) || missing)
            _exit(255);
        _exit(act() < 0 ? errno : 0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? DIED + WTERMSIG(status) : WEXITSTATUS(status);
}

static int in(const char *folder, const char *name, int flags)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return open(path, flags | O_CLOEXEC, 0600);
}

static int read_outside(void) { return in(outside, "secret", O_RDONLY); }
static int write_outside(void) { return in(outside, "secret", O_WRONLY); }
static int make_outside(void) { return in(outside, "new", O_WRONLY | O_CREAT); }
static int list_outside(void) { return in(outside, ".", O_RDONLY | O_DIRECTORY); }
static int write_etc(void) { return open("/etc/passwd", O_WRONLY | O_CLOEXEC); }
static int read_etc(void) { return open("/etc/passwd", O_RDONLY | O_CLOEXEC); }
static int make_inside(void) { return in(inside, "new", O_WRONLY | O_CREAT); }
static int read_inside(void) { return in(inside, "there", O_RDONLY); }
static int list_inside(void) { return in(inside, ".", O_RDONLY | O_DIRECTORY); }

static int remove_outside(void)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/secret", outside);
    return unlink(path);
}

static int carry_out(void)
{
    char from[128], to[128];
    (void)snprintf(from, sizeof from, "%s/there", inside);
    (void)snprintf(to, sizeof to, "%s/carried", outside);
    return rename(from, to);
}

static int execute(void)
{
    char name[] = "true", *const arguments[] = {name, NULL};
    return execv("/bin/true", arguments);
}

static int trace(void) { return (int)ptrace(PTRACE_TRACEME, 0, NULL, NULL); }
static int mount_it(void) { return mount("none", inside, "tmpfs", 0, NULL); }
static int change_root(void) { return chroot(inside); }
static int become(void) { return (int)syscall(SYS_setuid, 0); }
static int leave(void) { return unshare(CLONE_NEWNS); }
static int trap_door(void) { return (int)syscall(SYS_io_uring_setup, 1, NULL); }
static int raw_socket(void) { return socket(AF_PACKET, SOCK_RAW, 0); }
static int raw_inet(void) { return socket(AF_INET, SOCK_RAW, 1); }
static int plain_socket(void) { return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); }

static int pair_of_sockets(void)
{
    int pair[2];
    return socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
}

static int connect_somewhere(void)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = "/nowhere"};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    return fd < 0 ? fd : connect(fd, (struct sockaddr *)&to, sizeof to);
}

static const struct row {
    const char *what;
    int (*act)(void);
    enum sandbox_role role;
    enum sandbox_access access;
    int expected;
} rows[] = {
    {"A1: read a file outside", read_outside, SANDBOX_RELAY, SANDBOX_WRITE, EACCES},
    {"A1: write a file outside", write_outside, SANDBOX_RELAY, SANDBOX_WRITE, EACCES},
    {"A1: make a file outside", make_outside, SANDBOX_RELAY, SANDBOX_WRITE, EACCES},
    {"A1: list a folder outside", list_outside, SANDBOX_RELAY, SANDBOX_WRITE, EACCES},
    {"A1: remove a file outside", remove_outside, SANDBOX_RELAY, SANDBOX_WRITE, EACCES},
    {"A1: move a file out", carry_out, SANDBOX_RELAY, SANDBOX_WRITE, EACCES},
    {"A1: write /etc/passwd", write_etc, SANDBOX_RELAY, SANDBOX_WRITE, EACCES},
    {"A1: read /etc/passwd", read_etc, SANDBOX_RELAY, SANDBOX_WRITE, 0},
    {"A1: make a file inside", make_inside, SANDBOX_RELAY, SANDBOX_WRITE, 0},
    {"A1: read a file inside", read_inside, SANDBOX_RELAY, SANDBOX_WRITE, 0},
    {"A1: who only reads makes nothing", make_inside, SANDBOX_RELAY, SANDBOX_READ, EACCES},
    {"A1: who drops can make a file", make_inside, SANDBOX_LISTENER, SANDBOX_DROP, 0},
    {"A1: who drops can't read one", read_inside, SANDBOX_LISTENER, SANDBOX_DROP, EACCES},
    {"A1: who drops can sync the folder", list_inside, SANDBOX_LISTENER, SANDBOX_DROP, 0},
    {"A2: execute a program", execute, SANDBOX_RELAY, SANDBOX_WRITE, DIED + SIGSYS},
    {"A2: execute a program", execute, SANDBOX_LISTENER, SANDBOX_DROP, DIED + SIGSYS},
    {"A2: execute a program", execute, SANDBOX_GATEWAY, SANDBOX_DROP, DIED + SIGSYS},
    {"A2: ptrace", trace, SANDBOX_RELAY, SANDBOX_WRITE, SANDBOX_IS_INSTRUMENTED ? 0 : DIED + SIGSYS},
    {"A2: mount", mount_it, SANDBOX_RELAY, SANDBOX_WRITE, DIED + SIGSYS},
    {"A2: chroot", change_root, SANDBOX_RELAY, SANDBOX_WRITE, DIED + SIGSYS},
    {"A2: setuid", become, SANDBOX_RELAY, SANDBOX_WRITE, DIED + SIGSYS},
    {"A2: unshare", leave, SANDBOX_RELAY, SANDBOX_WRITE, DIED + SIGSYS},
    {"A2: io_uring", trap_door, SANDBOX_RELAY, SANDBOX_WRITE, ENOSYS},
    {"A2: a listener connects nowhere", connect_somewhere, SANDBOX_LISTENER, SANDBOX_DROP, ENOSYS},
    {"A2: a listener that checks connects", connect_somewhere, SANDBOX_CHECKING_LISTENER, SANDBOX_DROP, ENOENT},
    {"A1: a listener that checks can't read files", read_inside, SANDBOX_CHECKING_LISTENER, SANDBOX_DROP, EACCES},
    {"A2: the relay connects", connect_somewhere, SANDBOX_RELAY, SANDBOX_WRITE, ENOENT},
    {"A2: the lab has no sockets", plain_socket, SANDBOX_LAB, SANDBOX_WRITE, ENOSYS},
    {"A2: the lab has no sockets", connect_somewhere, SANDBOX_LAB, SANDBOX_WRITE, ENOSYS},
    {"A2: but pairs", pair_of_sockets, SANDBOX_LAB, SANDBOX_WRITE, 0},
    {"A1: the lab's files", write_outside, SANDBOX_LAB, SANDBOX_WRITE, EACCES},
    {"A3: packet socket", raw_socket, SANDBOX_RELAY, SANDBOX_WRITE, ENOSYS},
    {"A3: raw IP socket", raw_inet, SANDBOX_RELAY, SANDBOX_WRITE, ENOSYS},
    {"A3: TCP socket", plain_socket, SANDBOX_RELAY, SANDBOX_WRITE, 0},
};

static void put(const char *folder, const char *name)
{
    int fd = in(folder, name, O_WRONLY | O_CREAT);
    assert_true(fd >= 0);
    close(fd);
}

static bool is_missing(void)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        struct error error;
        const char *missing;
        _exit(!sandbox_enter(SANDBOX_RELAY, NULL, 0, &missing, &error) ? 2 : missing != NULL);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 2);
    return WEXITSTATUS(status) == 1;
}

static void what_is_forbidden_fails_and_what_is_needed_works(void **state)
{
    (void)state;
    if (is_missing())
        skip(); /* A5: a kernel without them */
    (void)snprintf(outside, sizeof outside, "/tmp/sandbox-out-XXXXXX");
    (void)snprintf(inside, sizeof inside, "/tmp/sandbox-in-XXXXXX");
    assert_non_null(mkdtemp(outside));
    assert_non_null(mkdtemp(inside));
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        put(outside, "secret");
        put(inside, "there");
        int result = attempt(rows[i].role, rows[i].access, rows[i].act);
        if (result != rows[i].expected)
            fail_msg("%s: %d, expected %d", rows[i].what, result, rows[i].expected);
    }
    for (size_t i = 0; i < 2; i++) {
        char command[160];
        (void)snprintf(command, sizeof command, "rm -rf %s", i ? inside : outside);
        assert_int_equal(system(command), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_forbidden_fails_and_what_is_needed_works),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
