/* command: what all sub-commands share: their table, common options, exit codes (sysexits(3)).
 *
 * Each command is one file, src/cli/NAME.c, with `int command_NAME(int argc, char **argv)`: argv[0] is the
 * sub-command's name. Common options, taken out of argv by command_parse() wherever they stand before "--":
 *   -c FILE, -o KEY=VALUE (repeatable), --json, --help
 * Results go to stdout, complaints to stderr as "mailroot NAME: …". With --json stdout holds one JSON value. */
#ifndef MR_CLI_COMMAND_H
#define MR_CLI_COMMAND_H

#include "config/config.h"
#include "os/link.h"

#include <sysexits.h>

struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary; /* for `mailroot help` */
    const char *usage;   /* for --help: usage line and options */
};

struct command_options {
    const char *config_file; /* NULL if not given */
    const char **settings;
    size_t setting_count;
    bool is_json;
    struct link_pair link;   /* `mailroot run` alone: between relay and listener */
    struct link_pair pam_link; /* and between the process that asks PAM and the listener */
};

extern const struct command command_table[]; /* ends with a NULL name; in main.c */

/* Takes the common options out of argv (argc is adjusted; argv stays NULL-terminated). --help prints the command's usage
 * and exits 0; a mistake prints it to stderr and exits EX_USAGE. */
void command_parse(int *argc, char **argv, struct command_options *ret_options);
/* The value of an option of the command's own, taken out of argv; NULL if it isn't there. Without a value: exit EX_USAGE. */
const char *command_value(int *argc, char **argv, const char *option);
/* The config, or its mistakes on stderr and exit EX_CONFIG. */
struct config *command_config(const struct command_options *options);
bool command_config_is_fine(const struct command_options *options); /* for a reload: silent, the relay says what is wrong */
/* "mailroot NAME: text" on stderr; returns `code`. */
int command_fail(const char *name, int code, const char *format, ...) FORMAT(3, 4);

int command_run(int argc, char **argv);
int command_check(int argc, char **argv);
int command_import_iis(int argc, char **argv);
int command_import_postfix(int argc, char **argv);
int command_import_powermta(int argc, char **argv);
int command_login(int argc, char **argv);
int command_lab(int argc, char **argv);
int command_lint(int argc, char **argv);
int command_dkim(int argc, char **argv);
int command_rehearse(int argc, char **argv);
int command_route(int argc, char **argv);
/* What would be done with mail for that domain, on stdout; `address` is for texts. An exit code. */
int route_explain(const struct config *config, const char *address, struct slice domain, bool is_json);
int command_explain(int argc, char **argv);
int command_queue(int argc, char **argv);
int command_suppress(int argc, char **argv);
int command_tlsrpt(int argc, char **argv);
int command_trace(int argc, char **argv);
int command_wait(int argc, char **argv);
int command_status(int argc, char **argv);
int command_sink(int argc, char **argv);
int command_send(int argc, char **argv);
int command_sendmail(int argc, char **argv);

#endif
