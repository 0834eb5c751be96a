/* import_iis: what the files of `mailroot import-iis` share.
 *
 *   import_iis.c   the command: file, virtual server, table      import_config.c   the config it becomes
 *   import_keys.c  each key's fate */
#ifndef MR_CLI_IMPORT_IIS_H
#define MR_CLI_IMPORT_IIS_H

#include "base/buf.h"
#include "cli/import_keys.h"

struct import {
    struct arena arena;
    struct metabase metabase;
    const struct metabase_node *service; /* /LM/SmtpSvc, NULL if not there: what its servers inherit */
    const struct metabase_node *server;  /* /LM/SmtpSvc/N */
    const char *root;                    /* of the new config, NULL: the default */
    const char *secrets;                 /* folder of passwords, NULL: none is named */
};

/* Of the server, or what it inherits; absent if neither has it. */
struct slice import_value(const struct import *import, const char *name, unsigned id);
/* The config, with a comment for what has to be looked at. */
void import_config(struct import *import, struct buf *out);

#endif
