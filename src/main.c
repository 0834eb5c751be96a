/* mailroot: one program, a table of sub-commands. */
#include "cli/command.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

const struct command command_table[] = {
    {"check", command_check, "read the config and say every mistake", "[--defaults] [--no-dns]"},
    {"dkim", command_dkim, "make DKIM keys, show their DNS records", "keygen DOMAIN [--selector NAME] [--dir DIR] | records"},
    {"explain", command_explain, "what is known of a file, a message or an address", "FILE|QUEUE-ID|NAME|ADDRESS"},
    {"import-iis", command_import_iis, "an IIS MetaBase.xml turned into a config",
     "MetaBase.xml [--server N] [--root DIR] [--secrets DIR]"},
    {"import-postfix", command_import_postfix, "Postfix's main.cf turned into a config", "[main.cf] [--root DIR] [--secrets DIR]"},
    {"import-powermta", command_import_powermta, "a PowerMTA config turned into ours", "[config] [--root DIR]"},
    {"lab", command_lab, "days of mail against made-up servers, in a second", "[--quiet] SCENARIO..."},
    {"lint", command_lint, "what would be done with a message file, offline", "[--folder NAME] FILE..."},
    {"login", command_login, "consent for a route's mail at Microsoft 365 or Google", "m365|google|other [--route PATTERN] [--device|--browser]"},
    {"queue", command_queue, "list, show, hold, release, retry, remove, reroute, export, repair, move", "VERB [ID...]"},
    {"rehearse", command_rehearse, "the whole way of a message up to RCPT and then RSET, sending nothing", "[--folder NAME] [--timeout 2m] FILE..."},
    {"route", command_route, "where an address's mail would go, sending nothing", "ADDRESS"},
    {"run", command_run, "run the relay in the foreground", "[-c FILE] [-o KEY=VALUE...]"},
    {"send", command_send, "compose and submit a message",
     "-f FROM [-t TO] [-s SUBJECT] [-b TEXT] [--html HTML] [--cc A] [--bcc A] [--attach FILE]\n"
     "           [--inline ID=FILE] [--header \"Name: value\"] [--importance low|normal|high] [--calendar TEXT]\n"
     "           [--unsubscribe URL] [--deliver-at TIME] [--wait] [--timeout 60s] [TO...] < TEXT"},
    {"sendmail", command_sendmail, "submit a ready message, sendmail(1)-compatible", "[-t] [-i] [-f SENDER] [RECIPIENT...] | -bp | -bi | -bv | -q"},
    {"sink", command_sink, "a catch-all SMTP server for tests", "[--listen ADDRESS:PORT] [--dir DIR]"},
    {"status", command_status, "the relay and its queue at a glance; a probe by its exit code", "[--ready|--live]"},
    {"suppress", command_suppress, "addresses that nothing is sent to", "list | add ADDRESS... | remove ADDRESS..."},
    {"tlsrpt", command_tlsrpt, "what was counted of TLS, as it will be reported", "[--day YYYY-MM-DD] [DOMAIN]"},
    {"trace", command_trace, "all that happened to a message", "NAME|MESSAGE-ID|QUEUE-ID|RECIPIENT..."},
    {"wait", command_wait, "wait for a pickup file's outcome", "NAME [--timeout 60s]"},
    {NULL, NULL, NULL, NULL},
};

static int help(FILE *to, int code)
{
    fputs("usage: mailroot COMMAND [OPTIONS]\n\n", to);
    for (const struct command *command = command_table; command->name; command++)
        fprintf(to, "  %-10s %s\n", command->name, command->summary);
    fputs("\nmailroot COMMAND --help tells more.\n", to);
    return code;
}

/* As sendmail, mailq or newaliases it is called by programs that know nothing of sub-commands. */
static bool is_sendmail(const char *path, char **ret_name)
{
    static const char *const names[] = {"sendmail", "mailq", "newaliases"};
    const char *slash = strrchr(path, '/');
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(slash ? slash + 1 : path, names[i]) == 0) {
            *ret_name = (char *)(uintptr_t)names[i];
            return true;
        }
    }
    return false;
}

int main(int argc, char **argv)
{
    if (argc > 0 && is_sendmail(argv[0], &argv[0]))
        return command_sendmail(argc, argv);
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
