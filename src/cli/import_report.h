/* import_report: what importers share: the fate of each setting, clean comments, networks and hosts in our form. */
#ifndef MR_CLI_IMPORT_REPORT_H
#define MR_CLI_IMPORT_REPORT_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

enum import_verdict { IMPORT_TAKEN, IMPORT_NOT_NEEDED, IMPORT_NOT_SUPPORTED };

struct import_fate {
    const char *name;            /* of their setting */
    enum import_verdict verdict;
    const char *words;           /* our key, or why not */
};

struct import_setting { struct slice name; size_t line; const struct import_fate *fate; };

const char *import_verdict_name(enum import_verdict verdict);
/* Without case; a fate of "nothing here stands for it" for what isn't in the table. */
const struct import_fate *import_fate_find(const struct import_fate *fates, size_t count, struct slice name);
/* The config, and behind it what became of each setting: as comments, or with the config as one JSON object. On stdout. */
void import_print(const struct buf *config, const struct import_setting *settings, size_t count, bool is_json);
/* [--root DIR] [--secrets DIR] [FILE]. EX_OK, or an exit code after saying what is wrong. `ret_secrets` NULL: there are none. */
int import_arguments(int argc, char **argv, const char **ret_root, const char **ret_secrets, const char **ret_path);
bool import_is_folder(const char *path); /* absolute, and safe in a config's quotes */
/* A whole file of theirs, in the arena. */
MUST_USE bool import_read(struct arena *arena, const char *path, size_t size_max, struct slice *ret_text, struct error *error);

struct import_login {
    const char *folder;          /* of secrets; NULL: none was given, passwords are not taken over */
    const char *host;            /* names the file */
    struct slice user, password; /* password absent: it can't be read */
};
/* Keys of a route that authenticates: " user = …; password_file = …;", the password alone in folder/HOST.password (0600). Without a
 * folder, nothing; `remarks` gets what has to be done by hand. */
void import_put_login(const struct import_login *login, struct buf *out, struct buf *remarks);

/* One clean line of a comment; "# name = value: words". */
void import_put_clean(struct buf *out, struct slice text);
void import_remark(struct buf *out, const char *name, struct slice value, const char *words);
struct slice import_cut_word(struct slice *rest); /* parted by blanks or commas */
/* ", \"::1/128\"" of "[::1]/128"; false if it is no address or network. */
bool import_put_network(struct buf *list, struct slice word);
/* "[host]:port", "host:port", "host", "[ip]:port" -> "host:port" in quotes; false if it is no host. */
bool import_put_host(struct arena *arena, struct buf *out, struct slice text);

#endif
