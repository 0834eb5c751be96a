/* keys: the only list of the config's keys outside sections with a name: name, type, range, default.
 * Private to src/config. */
#ifndef MR_CONFIG_KEYS_H
#define MR_CONFIG_KEYS_H

#include "config/value.h"

/* Values of keys that a folder.conf has too. */
extern const char *const config_dots_names[], *const config_dialect_names[], *const config_once_names[];

extern const struct config_key config_keys[];
extern const size_t config_key_count;

#endif
