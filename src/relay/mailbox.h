/* mailbox: a message as a file in a folder: Drop, or somebody's Maildir. Blocking; local.c calls it on its thread.
 *
 *   Drop/.new/NAME  head, message, fsync  ──rename──>  Drop/NAME      ──fsync of Drop──> the outcome may be committed
 *   Maildir/tmp/NAME                      ──rename──>  Maildir/new/NAME
 *
 * M1  a file has its last name only when it is whole and synced; mailbox_sync() makes the name durable
 * M2  NAME comes from the queue id, so that a delivery repeated after a crash meets its own file: one with the same bytes
 *     counts as delivered, another one stays and the new file gets a further name. Doubled is only what a reader took away
 *     between the rename and the commit
 * M3  no file is ever overwritten, no link followed behind the folder that the config names
 * M4  a Maildir must exist (tmp, new, cur are made): none is no such mailbox. A folder above it that is missing, a full
 *     disk, or missing rights are reasons to wait, never to bounce
 * M5  %u and %d come from the parsed address: the local part unquoted and in lower case, refused where it could lead
 *     elsewhere (empty, "/", a dot in front, control octets) */
#ifndef MR_RELAY_MAILBOX_H
#define MR_RELAY_MAILBOX_H

#include "base/buf.h"
#include "base/error.h"

enum { MAILBOX_NAME_SIZE = 320, MAILBOX_PATH_SIZE = 4096 };
enum mailbox_kind { MAILBOX_DROP, MAILBOX_MAILDIR };
enum mailbox_result { MAILBOX_DONE, MAILBOX_LATER, MAILBOX_NONE };

struct mailbox_file {
    enum mailbox_kind kind;
    const char *folder;         /* absolute; of a Maildir the one that holds new/ */
    char name[MAILBOX_NAME_SIZE]; /* wished; what it got, when DONE */
    struct slice head, content; /* canonical; a Maildir gets LF for CRLF */
};

/* Fills `out` with the template's %u, %d and %%; false where the address can have no mailbox (M5). */
MUST_USE bool mailbox_path(const char *template, struct slice address, struct buf *out);
enum mailbox_result mailbox_write(struct mailbox_file *file, struct error *error);
/* The names in the folder are durable (M1). */
MUST_USE bool mailbox_sync(enum mailbox_kind kind, const char *folder, struct error *error);

#endif
