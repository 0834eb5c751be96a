/* forms: the sections form "name" { … } of the config. Private to src/config. */
#ifndef MR_CONFIG_FORMS_H
#define MR_CONFIG_FORMS_H

#include "config/config.h"

/* `name` is what stands behind "form.": the form's name, ".", key. */
MUST_USE bool forms_set(struct config *config, struct slice name, struct slice text, struct error *error);
/* False with what is wrong with one of them: no address to send to, a redirect that leaves the site. */
MUST_USE bool forms_check(const struct config *config, struct error *error);
void forms_clear(struct config *config);

#endif
