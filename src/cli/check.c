/* mailroot check: the config, read and judged. */
#include "cli/command.h"

#include <stdio.h>
#include <sys/stat.h>

/* RELIABILITY P11: others may put files in, and neither see nor remove those of others. */
static bool pickup_is_safe(const struct config *config)
{
    struct stat is;
    if (stat(config->pickup.dir, &is) != 0)
        return true; /* made at the first start */
    if ((is.st_mode & S_IWOTH) && !(is.st_mode & S_ISVTX)) {
        printf("%s: everybody can remove others' files: chmod 1733 it\n", config->pickup.dir);
        return false;
    }
    if ((is.st_mode & S_IWOTH) && (is.st_mode & S_IROTH))
        printf("%s: warning: everybody can list it; 1733 keeps names private\n", config->pickup.dir);
    return true;
}

int command_check(int argc, char **argv)
{
    struct command_options options;
    command_parse(&argc, argv, &options);
    if (argc > 1 && strcmp(argv[1], "--defaults") == 0) {
        struct buf defaults = {0};
        config_print_defaults(&defaults);
        fputs(buf_text(&defaults), stdout);
        buf_finish(&defaults);
        return 0;
    }
    struct config *config = command_config(&options);
    if (!strchr(config->hostname, '.'))
        printf("hostname: warning: \"%s\" is no full name; receivers refuse such a HELO\n", config->hostname);
    bool is_fine = pickup_is_safe(config);
    if (is_fine)
        printf("%s: ok\n", config->file ? config->file : "embedded defaults");
    config_destroy(&config);
    return is_fine ? 0 : EX_CONFIG;
}
