/* owner: who a file belongs to: his name and groups, as the system knows them (getpwuid_r, getgrouplist). */
#ifndef MR_PICKUP_OWNER_H
#define MR_PICKUP_OWNER_H

#include "pickup/rules.h"

enum { OWNER_NAME_SIZE = 64, OWNER_GROUPS_MAX = 64 };

struct owner {
    uid_t uid;
    char name[OWNER_NAME_SIZE];        /* "uid 1001" where there is no name */
    gid_t groups[OWNER_GROUPS_MAX];    /* none for a uid without a name: a file's own group is set by the folder it lies in */
    size_t group_count;
};

/* False: the system could not be asked; what is known is filled. */
bool owner_look_up(uid_t uid, struct owner *ret_owner);
struct rules_owner owner_for_rules(const struct owner *owner); /* points into it */

#endif
