#include "cli/queue_place.h"

#include "config/secrets.h"

#include <stdio.h>

bool queue_place_find(const struct config *config, struct queue_place *ret_place, struct error *error)
{
    struct queue_place *place = ret_place;
    *place = (struct queue_place){0};
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

void queue_place_forget(struct queue_place *place)
{
    secret_free(place->password);
    *place = (struct queue_place){0};
}
