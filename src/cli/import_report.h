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
/* [--root DIR] [FILE]. EX_OK, or an exit code after saying what is wrong. */
int import_arguments(int argc, char **argv, const char **ret_root, const char **ret_path);
/* A whole file of theirs, in the arena. */
MUST_USE bool import_read(struct arena *arena, const char *path, size_t size_max, struct slice *ret_text, struct error *error);

/* One clean line of a comment; "# name = value: words". */
void import_put_clean(struct buf *out, struct slice text);
void import_remark(struct buf *out, const char *name, struct slice value, const char *words);
bool import_is_ip(struct slice text);
struct slice import_cut_word(struct slice *rest); /* parted by blanks or commas */
/* ", \"::1/128\"" of "[::1]/128"; false if it is no address or network. */
bool import_put_network(struct buf *list, struct slice word);
/* "[host]:port", "host:port", "host", "[ip]:port" -> "host:port" in quotes; false if it is no host. */
bool import_put_host(struct arena *arena, struct buf *out, struct slice text);

#endif
