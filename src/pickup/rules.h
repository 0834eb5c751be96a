/* rules: whether a folder lets a file's owner send this message (config/folder_conf.h K1 to K3).
 *
 * Pure: who the owner is comes as uid and groups. What is forbidden comes back as one sentence that names the file, the line
 * and the rule, for Badmail. */
#ifndef MR_PICKUP_RULES_H
#define MR_PICKUP_RULES_H

#include "config/folder_conf.h"
#include "message/envelope.h"

#include <sys/types.h>

struct rules_owner { /* of the file */
    uid_t uid;
    const gid_t *groups;
    size_t group_count;
    struct slice name;  /* for texts */
};

/* The section that counts for this owner; NULL if the folder has none for him. */
const struct folder_owner *rules_section(const struct folder_conf *conf, const struct rules_owner *owner);
/* Owner, envelope sender and From. */
MUST_USE bool rules_check(struct arena *arena, const struct folder_conf *conf, const struct rules_owner *owner,
                          const struct header *header, const struct envelope *envelope, struct error *error);

#endif
