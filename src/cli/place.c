#include "cli/place.h"

#include "config/secrets.h"

#include <stdio.h>

bool place_find(const struct config *config, struct place *ret_place, struct error *error)
{
    struct place *place = ret_place;
    *place = (struct place){0};
    if ((size_t)snprintf(place->dir, sizeof place->dir, "%s/Queue", config->root) >= sizeof place->dir)
        return error_set(error, "%s: path too long", config->root);
    if (config->store && config->cluster.password_file) {
        place->password = secret_read(config->cluster.password_file, error);
        if (!place->password)
            return error_prefix(error, "cluster.password_file");
    }
    place->store = (struct store_place){.dir = place->dir, .url = config->store, .password = place->password,
                                        .owner = config->node, .timeout_ms = config->cluster.timeout_ms};
    return true;
}

void place_forget(struct place *place)
{
    secret_free(place->password);
    *place = (struct place){0};
}
