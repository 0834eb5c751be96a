/* value: one setting's text, read as its key's type into a struct config.
 *
 * The error says what is accepted. Durations: numbers with ms, s, m, h, d, one behind the other ("1h30m"); a bare number is
 * refused. Sizes: octets, or with KB, MB, GB (powers of 1024). Lists: blank-free items parted by commas. Rates:
 * "10/1s, 1000/1h", a struct config_rates. Warm-ups: numbers, parted by commas, a struct config_warmup. */
#ifndef MR_CONFIG_VALUE_H
#define MR_CONFIG_VALUE_H

#include "base/error.h"
#include "base/slice.h"

enum config_type { KEY_TEXT, KEY_DOMAIN, KEY_INT, KEY_SIZE, KEY_DURATION, KEY_BOOL, KEY_ENUM, KEY_LIST, KEY_RATE, KEY_WARMUP };

struct config_key {
    const char *name;            /* "queue.expire" */
    enum config_type type;
    size_t offset;               /* in struct config */
    int64_t least, most;         /* numbers, durations (ms), sizes (octets) */
    const char *standard;        /* the default's text; NULL: none, or worked out */
    const char *const *accepted; /* KEY_ENUM: words, NULL-terminated */
};

MUST_USE bool value_set(const struct config_key *key, char *config, struct slice text, struct error *error);
void value_clear(const struct config_key *key, char *config); /* frees what it owns */
bool value_is_name(struct slice name, size_t size_max); /* of a section: a-z, 0-9, - and _ */
MUST_USE bool value_duration(struct slice text, int64_t *ret_ms);
MUST_USE bool value_size(struct slice text, uint64_t *ret_octets);
size_t value_distance(const char *a, const char *b); /* edits from one name to the other */

#endif
