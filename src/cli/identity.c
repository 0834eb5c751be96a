#include "cli/identity.h"

#include "os/file.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

bool identity_make_folders(const struct config *config, struct error *error)
{
    static const struct { const char *name; mode_t mode; } folders[] = {
        {"Queue", 0700}, {"Badmail", 0750}, {"Log", 0750}, {"Drop", 0770},
    };
    char path[4096];
    struct stat is;
    bool is_new = stat(config->pickup.dir, &is) != 0;
    if (!file_make_folder(config->root, 0755, error) || !file_make_folder(config->pickup.dir, 0755, error))
        return false;
    /* RELIABILITY P11: everybody may put files in, nobody sees or removes those of others. */
    if (is_new && chmod(config->pickup.dir, 01733) != 0)
        return error_set_errno(error, config->pickup.dir);
    for (size_t i = 0; i < COUNT_OF(folders); i++) {
        (void)snprintf(path, sizeof path, "%s/%s", config->root, folders[i].name);
        if (!file_make_folder(path, folders[i].mode, error))
            return false;
    }
    /* A folder of Pickup may wish for receipts later. */
    return file_make_folder(config->receipts.dir, 0755, error) || !config->receipts.is_on;
}

enum { FILES_WANTED = 65536 };

static bool give_folder(const char *path, const struct passwd *user, struct error *error)
{
    struct stat is;
    if (stat(path, &is) != 0 || is.st_uid == user->pw_uid)
        return true;
    return chown(path, user->pw_uid, user->pw_gid) == 0 || error_set_errno(error, path);
}

bool identity_become(const struct config *config, struct error *error)
{
    static const char *const names[] = {"", "/Queue", "/Badmail", "/Log", "/Drop", "/Hooks", "/Secrets"};
    char path[4096];
    if (geteuid() != 0 || strcmp(config->user, "root") == 0)
        return true;
    const struct passwd *user = getpwnam(config->user);
    if (!user)
        return error_set(error, "user \"%s\" does not exist: make it, or set `user`", config->user);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        (void)snprintf(path, sizeof path, "%s%s", config->root, names[i]);
        if (!give_folder(path, user, error))
            return false;
    }
    if (!give_folder(config->pickup.dir, user, error)
        || (!give_folder(config->receipts.dir, user, error) && config->receipts.is_on))
        return false;
    if (initgroups(user->pw_name, user->pw_gid) != 0 || setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0)
        return error_set_errno(error, "can't become the user");
    return true;
}

void identity_raise_limits(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        return;
    files.rlim_cur = files.rlim_max < FILES_WANTED ? files.rlim_max : FILES_WANTED;
    (void)setrlimit(RLIMIT_NOFILE, &files); /* fewer connections at once otherwise */
}
