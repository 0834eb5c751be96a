/* The shared schema's version 2, for tests: `mailroot-next` is mailroot with this in place of postgres_steps.c. */
#include "store/postgres_private.h"

#include "store/postgres_1.h"

static const struct schema_step steps[] = {
    {postgres_1, 1},
    {"ALTER TABLE message ADD COLUMN flavour bigint NOT NULL DEFAULT 7; CREATE TABLE flavour (number bigint PRIMARY KEY)", 1},
};

const struct schema_steps schema_steps = {steps, COUNT_OF(steps)};
