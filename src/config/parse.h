/* parse: the config file's syntax, a part of UCL's: what nginx and rspamd users write.
 *
 *   key = value;   key: value   section { … }   section "name" { … }   key = ["a", "b"]   # comment   // comment
 *
 * Debian 12 ships no UCL config library (its libucl is a compressor), hence these lines of our own; they know the line of
 * everything, which a schema's complaints need. No includes, no macros, no variables.
 * Values come as text: quoted ones with \" \\ \n \t resolved, others up to the line's end, ";" or "}". A list comes as its
 * items parted by commas; a map under a key that ends a name (dns.hosts) is for the caller to know: its entries come
 * as section.key. */
#ifndef MR_CONFIG_PARSE_H
#define MR_CONFIG_PARSE_H

#include "base/error.h"
#include "base/slice.h"

enum { CONFIG_FILE_SIZE_MAX = 1 << 20, CONFIG_DEPTH_MAX = 8 };

/* `name` is dotted ("queue.expire"); text absent: this name was given before. */
typedef void config_setting_fn(void *arg, const char *name, size_t line, struct slice text);

/* A section begins; one without settings would otherwise pass unseen. */
typedef void config_section_fn(void *arg, const char *name, size_t line);

/* False with "line N: …" at the first thing that is no syntax. `section_fn` may be NULL. */
MUST_USE bool config_parse(struct slice text, config_setting_fn *fn, config_section_fn *section_fn, void *arg, struct error *error);

#endif
