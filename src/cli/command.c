#include "cli/command.h"

#include <stdio.h>
#include <stdlib.h>

enum { SETTINGS_MAX = 256 };

static const struct command *find(const char *name)
{
    for (const struct command *command = command_table; command->name; command++)
        if (strcmp(command->name, name) == 0)
            return command;
    return NULL;
}

static void print_usage(FILE *to, const char *name)
{
    const struct command *command = find(name);
    fprintf(to, "usage: mailroot %s %s\n", name, command ? command->usage : "");
    fprintf(to, "  -c FILE         the config (default /etc/mailroot/mailroot.conf, if it exists)\n"
                "  -o KEY=VALUE    one setting; wins over the file and the environment\n"
                "  --json          results as JSON\n");
}

/* The value of an option that wants one; ends the program if there is none. */
static char *value_of(int argc, char **argv, int at)
{
    if (at + 1 < argc)
        return argv[at + 1];
    fprintf(stderr, "mailroot %s: %s wants a value\n", argv[0], argv[at]);
    exit(EX_USAGE);
}

void command_parse(int *argc, char **argv, struct command_options *ret_options)
{
    static const char *settings[SETTINGS_MAX]; /* one command a process */
    struct command_options options = {.settings = settings};
    int kept = 1, at = 1;
    for (; at < *argc && strcmp(argv[at], "--") != 0; at++) {
        if (strcmp(argv[at], "-c") == 0)
            options.config_file = value_of(*argc, argv, at++);
        else if (strcmp(argv[at], "-o") == 0 && options.setting_count == SETTINGS_MAX)
            exit(command_fail(argv[0], EX_USAGE, "more than %d times -o", SETTINGS_MAX));
        else if (strcmp(argv[at], "-o") == 0)
            options.settings[options.setting_count++] = value_of(*argc, argv, at++);
        else if (strcmp(argv[at], "--json") == 0)
            options.is_json = true;
        else if (strcmp(argv[at], "--help") == 0) {
            print_usage(stdout, argv[0]);
            exit(0);
        } else
            argv[kept++] = argv[at];
    }
    while (at < *argc)
        argv[kept++] = argv[at++];
    argv[kept] = NULL;
    *argc = kept;
    *ret_options = options;
}

bool command_config_is_fine(const struct command_options *options)
{
    struct buf report = {0};
    struct config *config = config_load(options->config_file, options->settings, options->setting_count, &report);
    bool is_fine = config != NULL;
    config_destroy(&config);
    buf_finish(&report);
    return is_fine;
}

const char *command_value(int *argc, char **argv, const char *option)
{
    const char *value = NULL;
    for (int i = 1; i < *argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], option) != 0)
            continue;
        value = value_of(*argc, argv, i);
        memmove(&argv[i], &argv[i + 2], (size_t)(*argc - i - 1) * sizeof *argv);
        *argc -= 2;
        i--;
    }
    return value;
}

struct config *command_config(const struct command_options *options)
{
    struct buf report = {0};
    struct config *config = config_load(options->config_file, options->settings, options->setting_count, &report);
    if (report.size)
        fputs(buf_text(&report), stderr);
    buf_finish(&report);
    if (!config)
        exit(EX_CONFIG);
    return config;
}

int command_fail(const char *name, int code, const char *format, ...)
{
    va_list args;
    fprintf(stderr, "mailroot %s: ", name);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return code;
}
