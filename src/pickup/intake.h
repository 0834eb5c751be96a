/* intake: the thread that turns finished files of Pickup into committed messages.
 *
 *   watch ─> claim ─> prepare ─> [batch] ──writer──> commit ─> hand over, unlink ─> (later) sync, drop origins
 *
 * I1  a file is unlinked only after the commit that holds its message; a failed commit gives the batch back to Pickup
 * I2  an idle intake submits a single file at once; what arrives during a commit makes the next batch (pickup.batch_max)
 * I3  origins are committed with their messages and dropped after the unlinks are durable (both folders synced); at the
 *     start what a crash or a lost rename left is recognised by them (folder.h F5)
 * I4  a bad file goes to Badmail with its reason and never holds up the next one; too many hops, and recipients that
 *     can't be used among good ones, are told to the sender (DSN)
 * I5  a full disk stops intake for INTAKE_PAUSE_MS at a time; files stay in Pickup
 * Not here: delivering (relay/), the steps of one file (folder.h, prepare.h). */
#ifndef MR_PICKUP_INTAKE_H
#define MR_PICKUP_INTAKE_H

#include "config/config.h"
#include "outcome/badmail.h"
#include "outcome/event.h"
#include "store/ids.h"
#include "store/queued.h"
#include "store/writer.h"

enum { INTAKE_PAUSE_MS = 5000 };

struct intake_parts { /* all stay in place while the intake lives */
    const struct config *config;
    struct ids *ids;
    struct writer *writer;
    struct event_log *log;
    const struct badmail_folder *badmail;
    const char *queue_dir;                /* body files */
    const struct store_place *place;
    const struct signer *signer;
    /* Called on the intake's thread with a list (queued->next) of committed messages, the callee's from then on. */
    void (*taken)(void *arg, struct queued *list);
    void *arg;
};

struct intake;
/* Recovers what an earlier process left, then starts the thread. */
MUST_USE struct intake *intake_start(const struct intake_parts *parts, struct error *error);
/* Takes nothing more; waits for what is being committed. The writer must still run. */
void intake_stop(struct intake **intake);

#endif
