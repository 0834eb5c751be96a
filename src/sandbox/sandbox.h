/* sandbox: what a role of `mailroot run` may do from now on: files by landlock(7), system calls by seccomp(2).
 *
 * A1  files: what `paths` lists, by its access, and READ of what every process needs (programs' libraries, /etc, /dev, clocks
 *     of the kernel); nothing else can be opened, made, renamed or removed, whatever permissions say
 * A2  system calls: an allow-list by role (the table in sandbox.c). What no role ever needs and intruders do (execve, ptrace,
 *     mount, setuid, other namespaces…) ends the process (SIGSYS); the rest says ENOSYS, as an older kernel would
 * A3  sockets: UNIX, IPv4 and IPv6 only (and netlink, which the C library asks for its addresses); no raw sockets
 * A4  no privilege comes back: no_new_privs, and the process can't be looked into (not dumpable)
 * A5  a kernel without landlock or seccomp is no error: `ret_missing` names what is missing, for a warning
 * A6  once entered there is no way back; threads made later inherit it, so it is entered before the first one
 * Sockets and descriptors that are open stay open: a listener binds first, then enters. */
#ifndef MR_SANDBOX_SANDBOX_H
#define MR_SANDBOX_SANDBOX_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

enum sandbox_role {
    SANDBOX_RELAY,    /* threads, files of the Mailroot, connections out, one UNIX socket that listens */
    SANDBOX_LISTENER, /* accepts connections, writes pickup files; connects nowhere */
    SANDBOX_CHECKING_LISTENER, /* the same, and asks DNS and a filter about what it accepts */
    SANDBOX_GATEWAY,  /* the same, for HTTP */
    SANDBOX_HOOKS,    /* connects, reads the event log; accepts nobody */
    SANDBOX_LAB,      /* no socket at all but pairs of its own */
    SANDBOX_ROLE_COUNT
};

enum sandbox_access {
    SANDBOX_READ,     /* files below it, and their names */
    SANDBOX_WRITE,    /* all that can be done with plain files, folders and UNIX sockets below it */
    SANDBOX_DROP,     /* make, write and rename plain files in it, and sync it: what pickup_write() does; read no file */
};

struct sandbox_path { const char *path; enum sandbox_access access; }; /* not there: its nearest folder that is */

/* False only when it can't be entered although the kernel has it. `*ret_missing` is NULL or static text. */
MUST_USE bool sandbox_enter(enum sandbox_role role, const struct sandbox_path *paths, size_t count,
                            const char **ret_missing, struct error *error);

#endif
