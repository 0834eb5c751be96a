#include "pickup/owner.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>

bool owner_look_up(uid_t uid, struct owner *ret_owner)
{
    struct passwd entry, *found = NULL;
    char texts[2048];
    int count = OWNER_GROUPS_MAX;
    int problem = getpwuid_r(uid, &entry, texts, sizeof texts, &found);
    ret_owner->uid = uid;
    if (found)
        (void)snprintf(ret_owner->name, sizeof ret_owner->name, "%s", found->pw_name);
    else
        (void)snprintf(ret_owner->name, sizeof ret_owner->name, "uid %u", (unsigned)uid);
    if (!found)
        count = 0;
    else if (getgrouplist(found->pw_name, found->pw_gid, ret_owner->groups, &count) < 0)
        count = OWNER_GROUPS_MAX; /* the first of them */
    ret_owner->group_count = (size_t)count;
    return found || problem == 0;
}

struct rules_owner owner_for_rules(const struct owner *owner)
{
    return (struct rules_owner){owner->uid, owner->groups, owner->group_count, slice_of(owner->name)};
}
