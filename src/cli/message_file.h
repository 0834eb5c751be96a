/* message_file: a file as intake would read it, for the commands that look at one without taking it. */
#ifndef MR_CLI_MESSAGE_FILE_H
#define MR_CLI_MESSAGE_FILE_H

#include "pickup/owner.h"
#include "pickup/prepare.h"

struct message_file {
    struct arena arena;
    struct buf bytes;
    struct owner owner;
    struct prepare_about about;
    struct prepared prepared;  /* of an mbox the first of its messages; all were looked at */
    size_t message_count;
    bool is_read;              /* false: it could not be read */
    struct error error;        /* when not fine */
};

/* `signer` NULL: it is not signed. `folder` as if it lay in that folder of Pickup; NULL: in Pickup itself. False with `error`; to be finished in any case. */
MUST_USE bool message_file_prepare(const struct config *config, const struct folder_conf *folder, const struct signer *signer,
                                   int fd, const char *path, uint64_t id, struct message_file *ret_file);
void message_file_finish(struct message_file *file);
/* The policy of a folder of Pickup by its name. NULL with the mistakes on stderr. */
struct folder_conf *message_file_folder(const struct config *config, const char *command, const char *name);

#endif
