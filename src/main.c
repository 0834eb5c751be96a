/* mailroot: one program, a table of sub-commands. */
#include "cli/command.h"

#include <stdio.h>
#include <string.h>

const struct command command_table[] = {
    {"check", command_check, "read the config and say every mistake", "[--defaults]"},
    {"lint", command_lint, "what would be done with a message file, offline", "FILE..."},
    {"queue", command_queue, "list, show, hold, release, retry, remove, reroute, export, repair", "VERB [ID...]"},
    {"run", command_run, "run the relay in the foreground", "[-c FILE] [-o KEY=VALUE...]"},
    {"sink", command_sink, "a catch-all SMTP server for tests", "[--listen ADDRESS:PORT] [--dir DIR]"},
    {"status", command_status, "the relay and its queue at a glance", ""},
    {NULL, NULL, NULL, NULL},
};

static int help(FILE *to, int code)
{
    fputs("usage: mailroot COMMAND [OPTIONS]\n\n", to);
    for (const struct command *command = command_table; command->name; command++)
        fprintf(to, "  %-8s %s\n", command->name, command->summary);
    fputs("\nmailroot COMMAND --help tells more.\n", to);
    return code;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return help(stderr, EX_USAGE);
    if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0)
        return help(stdout, 0);
    if (strcmp(argv[1], "version") == 0 || strcmp(argv[1], "--version") == 0) {
        puts("mailroot " MAILROOT_VERSION);
        return 0;
    }
    for (const struct command *command = command_table; command->name; command++)
        if (strcmp(argv[1], command->name) == 0)
            return command->run(argc - 1, argv + 1);
    fprintf(stderr, "mailroot: no command \"%s\"\n", argv[1]);
    return help(stderr, EX_USAGE);
}
