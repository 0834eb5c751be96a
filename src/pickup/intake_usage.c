/* Counters of folders: how much of a quota is used, when a rate lets the next message go. They are written in the commit of the
 * messages that they count. */
#include "pickup/intake_private.h"

#include "base/mem.h"
#include "os/clock.h"

#include <stdlib.h>

static struct usage *usage_get(struct intake *intake, struct slice name)
{
    struct usage *usage;
    HASH_FIND(hh, intake->usages, name.data, name.size, usage);
    if (usage)
        return usage;
    usage = mem_alloc(sizeof *usage);
    usage->name = slice_copy(name);
    HASH_ADD_KEYPTR(hh, intake->usages, usage->name, name.size, usage);
    return usage;
}

static void load(void *arg, const struct store_usage *stored)
{
    struct usage *usage = usage_get(arg, stored->name);
    usage->since_ms = stored->since_ms;
    usage->count = stored->count;
}

bool usages_load(struct intake *intake, struct store *store, struct error *error)
{
    return store_each_usage(store, load, intake, error);
}

/* A quota's time begins with the first message that it counts. */
static struct usage *quota_get(struct intake *intake, const struct folder_quota *quota, struct slice name, int64_t now_ms)
{
    struct usage *usage = usage_get(intake, name);
    if (now_ms - usage->since_ms >= quota->per_ms || usage->since_ms > now_ms) {
        usage->since_ms = now_ms;
        usage->count = 0;
    }
    return usage;
}

static bool quota_take(struct intake *intake, const struct folder_conf *conf, const struct folder_owner *section, uid_t uid,
                       int64_t now_ms, struct usage **ret_usage, struct error *error)
{
    const struct folder_quota *quota = section ? &section->quota : &conf->quota;
    struct slice name = section ? arena_printf(&intake->arena, "quota %s uid %u", conf->name, (unsigned)uid)
                                : arena_printf(&intake->arena, "quota %s", conf->name);
    struct usage *usage = quota_get(intake, quota, name, now_ms);
    if (usage->count < quota->count) {
        *ret_usage = usage;
        return true;
    }
    char until[25];
    clock_rfc3339(usage->since_ms + quota->per_ms, until);
    return error_set(error, "%s:%zu: quota: %s is used up until %s", conf->file, section ? section->line : conf->quota_line,
                     section ? section->quota_text : conf->quota_text, until);
}

bool usages_count(struct intake *intake, const struct folder_conf *conf, const struct rules_owner *owner, int64_t now_ms,
                  struct usage *ret_counted[ENTRY_USAGES], struct error *error)
{
    const struct folder_owner *section = rules_section(conf, owner);
    size_t count = 0;
    if (section && section->quota.count && !quota_take(intake, conf, section, owner->uid, now_ms, &ret_counted[count++], error))
        return false;
    if (conf->quota.count && !quota_take(intake, conf, NULL, owner->uid, now_ms, &ret_counted[count++], error))
        return false;
    for (size_t i = 0; i < count; i++) {
        ret_counted[i]->count++;
        ret_counted[i]->is_dirty = true;
    }
    return true;
}

void usages_give_back(struct usage *const counted[ENTRY_USAGES])
{
    for (size_t i = 0; i < ENTRY_USAGES && counted[i]; i++) {
        if (counted[i]->count)
            counted[i]->count--;
        counted[i]->is_dirty = true;
    }
}

int64_t usages_due(struct intake *intake, const struct folder_conf *conf, int64_t now_ms)
{
    if (conf->rate_interval_ms == 0)
        return window_next(&conf->window, now_ms);
    struct usage *usage = usage_get(intake, arena_printf(&intake->arena, "rate %s", conf->name));
    int64_t due_ms = window_next(&conf->window, usage->since_ms > now_ms ? usage->since_ms : now_ms);
    usage->since_ms = due_ms + conf->rate_interval_ms;
    usage->is_dirty = true;
    return due_ms;
}

void usages_to_batch(struct intake *intake, struct batch *batch)
{
    size_t capacity = 0;
    for (struct usage *usage = intake->usages; usage; usage = usage->hh.next) {
        if (!usage->is_dirty)
            continue;
        if (batch->usage_count == capacity) {
            capacity = capacity ? 2 * capacity : 8;
            batch->usages = mem_resize(batch->usages, capacity * sizeof *batch->usages);
        }
        batch->usages[batch->usage_count++] = (struct batch_usage){usage, usage->since_ms, usage->count};
        usage->is_dirty = false;
    }
}

void usages_free(struct intake *intake)
{
    struct usage *usage, *next;
    HASH_ITER(hh, intake->usages, usage, next) {
        HASH_DEL(intake->usages, usage);
        free(usage->name);
        free(usage);
    }
}
