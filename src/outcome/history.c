#include "outcome/history.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

const char *history_text(const json_t *event, const char *key)
{
    const char *text = json_string_value(json_object_get(event, key));
    return text ? text : "";
}

int64_t history_ms(const json_t *event, const char *key)
{
    struct tm tm = {0};
    const char *rest = strptime(history_text(event, key), "%Y-%m-%dT%H:%M:%S", &tm);
    return rest ? (int64_t)timegm(&tm) * 1000 + (*rest == '.' ? atoi(rest + 1) : 0) : -1;
}

int64_t history_time_ms(const json_t *event)
{
    return history_ms(event, "time");
}

/* False when fn() has seen enough. */
static bool each_line(FILE *file, struct slice octets, history_fn *fn, void *arg)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t size;
    bool is_going = true;
    while (is_going && (size = getline(&line, &capacity, file)) > 0) {
        if (octets.size && !memmem(line, (size_t)size, octets.data, octets.size))
            continue;
        json_t *event = json_loadb(line, (size_t)size, JSON_ALLOW_NUL, NULL);
        if (json_is_object(event))
            is_going = fn(arg, event);
        json_decref(event);
    }
    free(line);
    return is_going;
}

bool history_search(const struct config *config, struct slice octets, history_fn *fn, void *arg, struct error *error)
{
    char path[4200];
    bool is_any = false, is_going = true;
    if (!config->events.file[0])
        return error_set(error, "events.file is empty: nothing is kept to be traced");
    for (int i = config->events.keep; i >= 0 && is_going; i--) {
        if (i)
            (void)snprintf(path, sizeof path, "%s.%d", config->events.file, i);
        else
            (void)snprintf(path, sizeof path, "%s", config->events.file);
        FILE *file = fopen(path, "re");
        if (!file)
            continue;
        is_any = true;
        is_going = each_line(file, octets, fn, arg);
        (void)fclose(file);
    }
    return is_any || error_set(error, "%s: %s", config->events.file, strerrordesc_np(errno));
}

bool history_each(const struct config *config, history_fn *fn, void *arg, struct error *error)
{
    return history_search(config, SLICE(""), fn, arg, error);
}
