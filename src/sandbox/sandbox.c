#include "sandbox/sandbox_private.h"

#include "base/slice.h"

#include <errno.h>
#include <seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

/* Groups of system calls; a role has a set of them. Texts, not numbers: a name that an architecture does not have is
 * passed over. */
static const char process[] =
    "exit exit_group rt_sigaction rt_sigprocmask rt_sigreturn rt_sigtimedwait rt_sigpending sigaltstack restart_syscall "
    "getpid gettid getppid getuid geteuid getgid getegid getgroups uname sysinfo getrlimit prlimit64 getrusage times "
    "tgkill arch_prctl prctl set_tid_address set_robust_list get_robust_list rseq membarrier umask getcpu "
    "futex futex_waitv futex_wait futex_wake futex_requeue clone clone3 sched_yield sched_getaffinity sched_getparam "
    "sched_getscheduler";
static const char memory[] =
    "mmap munmap mprotect mremap madvise brk mlock mlock2 munlock getrandom";
static const char times[] =
    "clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time timerfd_create timerfd_settime timerfd_gettime";
static const char descriptors[] =
    "read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 close close_range lseek fstat fcntl ioctl "
    "dup dup2 dup3 pipe pipe2 eventfd2 poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait "
    "epoll_pwait epoll_pwait2 fsync fdatasync syncfs sync_file_range fadvise64 ftruncate fallocate flock fchmod fstatfs "
    "sendfile signalfd4";
static const char files[] =
    "open openat openat2 creat stat lstat newfstatat statx access faccessat faccessat2 readlink readlinkat getcwd statfs "
    "unlink unlinkat rename renameat renameat2 mkdir mkdirat chmod fchmodat";
static const char folders[] =
    "getdents getdents64 rmdir link linkat inotify_init1 inotify_add_watch inotify_rm_watch utimensat";
static const char sockets[] =
    "bind getsockname getpeername setsockopt getsockopt sendto recvfrom sendmsg recvmsg sendmmsg recvmmsg shutdown";
static const char pairs[] = "socketpair";
static const char connecting[] = "connect socketpair";
static const char accepting[] = "listen accept accept4";
static const char debugging[] = "ptrace wait4 waitid kill process_vm_readv getdents getdents64";

/* Nobody here has a use for these: who calls them is an intruder. */
static const char deadly[] =
    "execve execveat ptrace process_vm_readv process_vm_writev mount umount2 move_mount fsopen open_tree pivot_root chroot "
    "setuid setgid setreuid setregid setresuid setresgid setgroups capset unshare setns init_module finit_module "
    "delete_module kexec_load kexec_file_load bpf perf_event_open userfaultfd keyctl add_key request_key reboot swapon "
    "swapoff open_by_handle_at mknod mknodat personality acct iopl ioperm modify_ldt kcmp";

static const struct { const char *sets[12]; } table[SANDBOX_ROLE_COUNT] = {
    [SANDBOX_RELAY] = {{process, memory, times, descriptors, files, folders, sockets, connecting, accepting}},
    /* The C library's resolver and the pickup writer need connections to nobody. */
    [SANDBOX_LISTENER] = {{process, memory, times, descriptors, files, sockets, accepting}},
    [SANDBOX_LAB] = {{process, memory, times, descriptors, files, folders, sockets, pairs}},
    [SANDBOX_HOOKS] = {{process, memory, times, descriptors, files, sockets, connecting}},
    [SANDBOX_CHECKING_LISTENER] = {{process, memory, times, descriptors, files, sockets, connecting, accepting}},
    /* It asks the relay by a UNIX socket, lists and empties Badmail. */
    [SANDBOX_GATEWAY] = {{process, memory, times, descriptors, files, folders, sockets, connecting, accepting}},
};

/* The first word of a set; false at its end. */
static bool next_name(const char **set, char ret_name[32])
{
    size_t size = strcspn(*set, " ");
    if (size == 0 || size >= 32)
        return false;
    memcpy(ret_name, *set, size);
    ret_name[size] = '\0';
    *set += size + strspn(*set + size, " ");
    return true;
}

static bool add_set(scmp_filter_ctx filter, uint32_t action, const char *set, struct error *error)
{
    char name[32];
    while (next_name(&set, name)) {
        int number = seccomp_syscall_resolve_name(name);
        if (number == __NR_SCMP_ERROR || (SANDBOX_IS_INSTRUMENTED && action != SCMP_ACT_ALLOW && strstr(debugging, name)))
            continue;
        int result = seccomp_rule_add(filter, action, number, 0);
        if (result < 0 && result != -EDOM)
            return error_set(error, "seccomp: %s: %s", name, strerrordesc_np(-result));
    }
    return true;
}

/* A3. */
static bool add_families(scmp_filter_ctx filter, struct error *error)
{
    static const int families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};
    for (size_t i = 0; i < COUNT_OF(families); i++) {
        struct scmp_arg_cmp is_family = SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i], 0);
        /* The type's low bits: SOCK_STREAM, SOCK_DGRAM; for netlink SOCK_RAW is its only one. */
        struct scmp_arg_cmp is_plain = SCMP_A1(SCMP_CMP_MASKED_EQ, 0xf, SOCK_STREAM);
        struct scmp_arg_cmp is_datagram = SCMP_A1(SCMP_CMP_MASKED_EQ, 0xf, SOCK_DGRAM);
        int result = families[i] == AF_NETLINK
                         ? seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, is_family)
                         : seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2, is_family, is_plain);
        if (result == 0 && families[i] != AF_NETLINK)
            result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2, is_family, is_datagram);
        if (result < 0)
            return error_set(error, "seccomp: socket: %s", strerrordesc_np(-result));
    }
    return true;
}

static bool seccomp_enter(enum sandbox_role role, bool *ret_is_missing, struct error *error)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
    if (!filter)
        return error_set(error, "seccomp: can't make a filter");
    bool is_done = seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 1) == 0
                   && seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2) == 0;
    if (!is_done)
        (void)error_set(error, "seccomp: can't set up a filter");
    for (const char *const *set = table[role].sets; is_done && *set; set++)
        is_done = add_set(filter, SCMP_ACT_ALLOW, *set, error);
    if (is_done && SANDBOX_IS_INSTRUMENTED)
        is_done = add_set(filter, SCMP_ACT_ALLOW, debugging, error);
    is_done = is_done && add_set(filter, SCMP_ACT_KILL_PROCESS, deadly, error) && (role == SANDBOX_LAB || add_families(filter, error));
    int result = is_done ? seccomp_load(filter) : 0;
    seccomp_release(filter);
    *ret_is_missing = is_done && (result == -EINVAL || result == -ENOSYS || result == -ECANCELED);
    if (is_done && result < 0 && !*ret_is_missing)
        return error_set(error, "seccomp: %s", strerrordesc_np(-result));
    return is_done;
}

bool sandbox_enter(enum sandbox_role role, const struct sandbox_path *paths, size_t count, const char **ret_missing,
                   struct error *error)
{
    bool has_no_landlock, has_no_seccomp;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
        || (!SANDBOX_IS_INSTRUMENTED && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0))
        return error_set_errno(error, "prctl");
    if (!landlock_enter(paths, count, &has_no_landlock, error) || !seccomp_enter(role, &has_no_seccomp, error))
        return false;
    *ret_missing = has_no_landlock && has_no_seccomp ? "landlock and seccomp"
                   : has_no_landlock                 ? "landlock"
                   : has_no_seccomp                  ? "seccomp"
                                                     : NULL;
    return true;
}
