/* sources: the sections source "name" { … } of the config. Private to src/config, but for config_source_fits() (config.h). */
#ifndef MR_CONFIG_SOURCES_H
#define MR_CONFIG_SOURCES_H

#include "config/config.h"

/* `name` is what stands behind "source.": the section's name, ".", key. */
MUST_USE bool sources_set(struct config *config, struct slice name, struct slice text, struct error *error);
MUST_USE bool sources_check(const struct config *config, struct error *error);
void sources_clear(struct config *config);

#endif
