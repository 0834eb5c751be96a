/* import_keys: each key of the IIS SMTP service's metabase, and what becomes of it here. docs/iis.md has the same table. */
#ifndef MR_CLI_IMPORT_KEYS_H
#define MR_CLI_IMPORT_KEYS_H

#include "cli/import_report.h"
#include "config/metabase.h"

struct import_key {
    const char *name;            /* "MaxMessageSize"; a last "*" stands for any rest */
    unsigned id;                 /* 0: only known by name */
    enum import_verdict verdict;
    const char *words;           /* our key, or why not */
};

/* NULL: a key that isn't known. */
const struct import_key *import_key_find(const struct metabase_property *property);
extern const struct import_key import_keys[];
extern const size_t import_key_count;

#endif
