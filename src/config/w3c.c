#include "config/w3c.h"

static const char *const names[W3C_FIELD_COUNT] = {
#define NAME(field, name) [W3C_##field] = name,
    W3C_FIELDS(NAME)
#undef NAME
};

const char *w3c_field_name(enum w3c_field field)
{
    return names[field];
}

enum w3c_field w3c_field_find(struct slice name)
{
    unsigned field = 0;
    while (field < W3C_FIELD_COUNT && !slice_equals_nocase(name, slice_of(names[field])))
        field++;
    return (enum w3c_field)field;
}
