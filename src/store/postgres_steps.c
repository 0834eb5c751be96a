#include "store/postgres_private.h"

#include "store/postgres_1.h" /* made from postgres_1.sql */

/* Never change one that was released. */
static const struct schema_step steps[] = {{postgres_1, 1}};

const struct schema_steps schema_steps = {steps, COUNT_OF(steps)};
