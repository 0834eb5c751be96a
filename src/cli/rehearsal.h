/* rehearsal: what would become of a message if it were dropped into Pickup now, without sending it.
 *
 *   file ─prepare─> a queue of its own, in a temporary folder ─> the relay itself, up to RCPT, then RSET ─> its events ─> verdict
 *
 * It is the relay that rehearses: routes, hosts, TLS and limits are those of the real way, not a second opinion on them. What a
 * receiver will find out about the sender comes from cli/judge.h.
 *
 *   {"file", "verdict": "accepted" | "refused" | "deferred" | "no answer", "from", "size", "recipients": [{"recipient", "verdict",
 *    "mx", "ip", "tls", "stage", "code", "status", "class", "reply", "reason", "offers": [word], "fit": [text]}], "sender": {…}}
 *   {"file", "verdict": "refused at intake", "reason"} */
#ifndef MR_CLI_REHEARSAL_H
#define MR_CLI_REHEARSAL_H

#include "cli/message_file.h"
#include "config/secrets.h"

#include <jansson.h>

struct rehearsal_parts {
    struct config *config;           /* where its logs go is changed */
    const struct folder_conf *folder;
    const struct signer *signer;
    const struct secrets *secrets;
    const char *work_dir;            /* where it may make a folder; it goes again */
    int64_t timeout_ms;
};

/* `fd` is read from its start. NULL with an error when nothing could be found out. The caller's. */
json_t *rehearsal_run(const struct rehearsal_parts *parts, int fd, const char *name, struct error *error);
void rehearsal_sweep(const char *work_dir);                     /* what an earlier process left there */
int rehearsal_code(const json_t *verdict);                      /* sysexits(3): the worst recipient's */
void rehearsal_words(const json_t *verdict, struct buf *out);   /* for people */

#endif
