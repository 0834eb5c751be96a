/* mailroot check: the config, the folders and DNS, read and judged. */
#include "cli/check.h"
#include "cli/command.h"
#include "config/secrets.h"
#include "config/sealer.h"
#include "relay/oauth.h"

#include "smtpd/policy.h"
#include "smtpd/smtpd.h"

#include <pwd.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_missing(const char *path, struct stat *ret_is)
{
    return stat(path, ret_is) != 0; /* made at the first start */
}

/* RELIABILITY P11: others may put files in, and neither see nor remove those of others. */
static bool pickup_is_safe(const char *dir)
{
    struct stat is;
    if (is_missing(dir, &is))
        return true;
    if (!S_ISDIR(is.st_mode)) {
        printf("%s: not a folder\n", dir);
        return false;
    }
    if ((is.st_mode & S_IWOTH) && !(is.st_mode & S_ISVTX)) {
        printf("%s: everybody can remove others' files: chmod 1733 it\n", dir);
        return false;
    }
    if ((is.st_mode & S_IWGRP) && !(is.st_mode & S_ISVTX))
        printf("%s: warning: its group can remove others' files; chmod +t keeps each its own\n", dir);
    if ((is.st_mode & S_IWOTH) && (is.st_mode & S_IROTH))
        printf("%s: warning: everybody can list it; 1733 keeps names private\n", dir);
    return true;
}

/* The relay moves what it takes out of Pickup: in a sticky folder only the folder's owner may (`run`, started as root,
 * makes the config's user its owner). */
static bool pickup_is_ours(const struct config *config)
{
    struct stat is;
    const struct passwd *user = getpwnam(config->user);
    if (geteuid() == 0 || is_missing(config->pickup.dir, &is) || !(is.st_mode & S_ISVTX) || is.st_uid == geteuid()
        || (user && is.st_uid == user->pw_uid))
        return true;
    printf("%s: belongs to uid %u: a relay of yours could take no file of others out of it\n", config->pickup.dir,
           (unsigned)is.st_uid);
    return false;
}

static bool folder_is_private(const char *root, const char *name)
{
    char path[4096];
    struct stat is;
    (void)snprintf(path, sizeof path, "%s/%s", root, name);
    if (is_missing(path, &is) || (is.st_mode & (S_IWOTH | S_IROTH)) == 0)
        return true;
    printf("%s: everybody can %s it: chmod o-rwx it\n", path, is.st_mode & S_IWOTH ? "change" : "read");
    return false;
}

static bool folders_are_safe(const struct config *config)
{
    bool is_fine = pickup_is_safe(config->pickup.dir);
    is_fine = pickup_is_ours(config) && is_fine;
    is_fine = folder_is_private(config->root, "Queue") && is_fine;
    return folder_is_private(config->root, "Badmail") && is_fine;
}

/* The relay starts without a token; its route waits for one. */
static void warn_of_tokens(const struct config *config)
{
    for (size_t i = 0; i < config->route_count; i++) {
        const struct config_route *route = &config->routes[i];
        struct error error;
        if (route->oauth.service == CONFIG_SERVICE_NONE || oauth_has_own_token(&route->oauth))
            continue;
        char *token = oauth_token_load(&route->oauth, &error);
        if (!token)
            printf("route \"%s\": warning: %s: see mailroot-login(1)\n", route->pattern, error.text);
        secret_free(token);
    }
}

/* Bounces to the addresses that SRS makes come from anybody (config/return_path.h). */
static void warn_of_srs(const struct config *config)
{
    struct policy policy = {.config = config, .domains = config->smtp.domains};
    struct address bounced = {.local = SLICE("SRS0"), .domain = slice_of(config->sender.srs_domain)};
    if (config->sender.srs_domain && !policy_is_ours(&policy, &bounced))
        printf("sender.srs_domain: warning: smtp.domains does not name %s: bounces to its addresses are not taken, and do not come back\n",
               config->sender.srs_domain);
}

int command_check(int argc, char **argv)
{
    struct command_options options;
    bool asks_dns = true;
    command_parse(&argc, argv, &options);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--defaults") == 0) {
            struct buf defaults = {0};
            config_print_defaults(&defaults);
            fputs(buf_text(&defaults), stdout);
            buf_finish(&defaults);
            return 0;
        }
        if (strcmp(argv[i], "--no-dns") != 0)
            return command_fail("check", EX_USAGE, "%s: not known here; see --help", argv[i]);
        asks_dns = false;
    }
    struct config *config = command_config(&options);
    if (!strchr(config->hostname, '.'))
        printf("hostname: warning: \"%s\" is no full name; receivers refuse such a HELO\n", config->hostname);
    else if (asks_dns)
        (void)check_dns(config);
    struct error error;
    bool is_fine = folders_are_safe(config);
    if (!smtpd_check(config, &error)) {
        printf("%s\n", error.text);
        is_fine = false;
    }
    struct signer *signer = signer_open(config, &error);
    if (!signer || !sealer_check(config, signer, &error)) {
        printf("%s\n", error.text);
        is_fine = false;
    } else if (asks_dns && signer_count(signer)) {
        (void)check_dkim(config, signer);
    }
    struct secrets *secrets = secrets_open(config, &error);
    if (!secrets)
        printf("%s\n", error.text);
    is_fine = check_folders(config, signer) && is_fine && signer && secrets;
    secrets_close(&secrets);
    warn_of_tokens(config);
    warn_of_srs(config);
    signer_close(&signer);
    if (is_fine)
        printf("%s: ok\n", config->file ? config->file : "embedded defaults");
    config_destroy(&config);
    return is_fine ? 0 : EX_CONFIG;
}
