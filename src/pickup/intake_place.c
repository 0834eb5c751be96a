/* The folders of Pickup: found at the start, by scans and by renames into it; looked at before each file that is taken from them. */
#include "pickup/intake_private.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static struct place *place_find(struct intake *intake, const char *name, const char *box)
{
    for (struct place *place = intake->places; place; place = place->next)
        if (!place->is_retired && strcmp(place->name, name) == 0 && place->box == box)
            return place;
    return NULL;
}

static struct place *place_add(struct intake *intake, const char *name, const char *box)
{
    struct place **end = &intake->places;
    while (*end)
        end = &(*end)->next;
    return *end = place_create(intake->parts.config->pickup.dir, name, box);
}

struct slice place_file_name(struct arena *arena, const struct place *place, const char *name)
{
    const char *box = place->box ? place->box : "";
    return arena_printf(arena, "%s%s%s%s%s", place->name, place->name[0] ? "/" : "", box, box[0] ? "/" : "", name);
}

static void tell(struct intake *intake, enum event_kind kind, struct place *place, const char *text)
{
    struct event event = EVENT(kind);
    event.pickup = place_file_name(&intake->arena, place, place->box ? "" : "folder.conf");
    if (kind == EVENT_SKIPPED)
        event.reason = slice_of(text);
    else
        event.note = slice_of(text);
    event_put(intake->parts.log, &event);
}

static void retire(struct intake *intake, struct place *place)
{
    if (place->watched)
        watch_remove(intake->watch, place->watched);
    place->watched = NULL;
    place->is_retired = true;
    tell(intake, EVENT_SKIPPED, place, place->box ? "the Maildir is gone" : "folder.conf or its folder is gone: nothing is taken from it any more");
}

void places_drop_retired(struct intake *intake)
{
    for (struct place **at = &intake->places; *at;) {
        struct place *place = *at;
        place_drop_outdated(place);
        if (!place->is_retired || place->in_flight || place->is_dirty) {
            at = &place->next;
            continue;
        }
        *at = place->next;
        place_destroy(&place);
    }
}

static bool watch_place(struct intake *intake, struct place *place, struct error *error)
{
    if (!place->watched)
        place->watched = watch_add(intake->watch, place->path, place, !place->name[0], error);
    return place->watched != NULL;
}

/* Looks, and tells what changed. */
static void look(struct intake *intake, struct place *place)
{
    struct error error;
    struct place_rules rules = {intake->parts.config, intake->parts.signer, geteuid()};
    switch (place_look(place, folder_fd(intake->places->folder), intake->parts.config->pickup.dir, &rules)) {
    case PLACE_NONE:
        retire(intake, place);
        break;
    case PLACE_SAME:
        break;
    case PLACE_CHANGED:
        tell(intake, EVENT_RELOADED, place, place->conf ? "files in this folder are taken by its folder.conf" : "a Maildir: its files are taken");
        watch_scan_soon(intake->watch, 0); /* what waited for it */
        break;
    case PLACE_FAULTY:
        intake_forget_left(intake, place, "folder.conf");
        break;
    }
    if (!place->is_retired && place->fault.text[0])
        intake_tell_left(intake, place, "folder.conf", &place->fault);
    if (!place->is_retired && intake->watch && !watch_place(intake, place, &error))
        retire(intake, place); /* it went meanwhile */
}

bool place_may_take(struct intake *intake, struct place *place)
{
    if (!place->name[0])
        return true;
    if (!place->is_retired)
        look(intake, place);
    return !place->is_retired && !place->fault.text[0] && (place->conf || place->box) && place->folder;
}

static void look_for(struct intake *intake, const char *name, const char *box, bool is_there)
{
    struct place *place = place_find(intake, name, box);
    if (place || is_there)
        look(intake, place ? place : place_add(intake, name, box));
}

void places_found(struct intake *intake, const char *name)
{
    struct stat is;
    char conf[FOLDER_NAME_SIZE + 16];
    int pickup_fd = folder_fd(intake->places->folder);
    bool is_seen = !folder_leaves_alone(name);
    (void)snprintf(conf, sizeof conf, "%s/folder.conf", name);
    look_for(intake, name, NULL, is_seen && fstatat(pickup_fd, conf, &is, AT_SYMLINK_NOFOLLOW) == 0);
    bool is_maildir = is_seen && place_is_maildir(pickup_fd, name);
    for (size_t i = 0; i < COUNT_OF(place_boxes); i++)
        look_for(intake, name, place_boxes[i], is_maildir);
}

/* ---- the start ---- */

struct recovering { struct intake *intake; folder_known_fn *is_known; void *arg; bool is_clean; };

/* Whatever has claims in it, whether its folder.conf is still there or not: their origins are dropped after this. A folder that
 * can't be opened keeps them all. */
static void recover_box(struct recovering *recovering, const char *name, const char *box)
{
    struct intake *intake = recovering->intake;
    const struct config *config = intake->parts.config;
    char taken[FOLDER_NAME_SIZE + 16];
    struct stat is;
    struct error error;
    (void)snprintf(taken, sizeof taken, "%s%s%s/.taken", name, box ? "/" : "", box ? box : "");
    if (fstatat(folder_fd(intake->places->folder), taken, &is, AT_SYMLINK_NOFOLLOW) != 0)
        return;
    struct place *place = place_create(config->pickup.dir, name, box);
    place->folder = folder_open(place->path, config->pickup.settle_ms, config->limits.message_size, &error);
    bool is_clean = true;
    if (!place->folder || !folder_recover(place->folder, recovering->is_known, recovering->arg, &is_clean, &error)) {
        intake->keeps_origins = true;
        tell(intake, EVENT_SKIPPED, place, error.text);
    }
    recovering->is_clean = recovering->is_clean && is_clean;
    place_destroy(&place);
}

static void recover_name(void *arg, const char *name)
{
    recover_box(arg, name, NULL);
    for (size_t i = 0; i < COUNT_OF(place_boxes); i++)
        recover_box(arg, name, place_boxes[i]);
}

static void find_name(void *arg, const char *name)
{
    places_found(arg, name);
}

bool places_recover(struct intake *intake, folder_known_fn *is_known, void *arg, bool *ret_is_clean, struct error *error)
{
    struct recovering recovering = {intake, is_known, arg, true};
    struct folder *folder = intake->places->folder;
    bool is_done = folder_recover(folder, is_known, arg, ret_is_clean, error)
                   && place_each_name(folder_fd(folder), recover_name, &recovering, error);
    *ret_is_clean = *ret_is_clean && recovering.is_clean;
    return is_done;
}

bool places_open(struct intake *intake, struct error *error)
{
    const struct config *config = intake->parts.config;
    struct place *place = place_add(intake, "", NULL);
    place->folder = folder_open(config->pickup.dir, config->pickup.settle_ms, config->limits.message_size, error);
    return place->folder != NULL;
}

bool places_watch(struct intake *intake, struct error *error)
{
    intake->watch = watch_open(intake->parts.config->pickup.scan_ms);
    return watch_place(intake, intake->places, error)
           && place_each_name(folder_fd(intake->places->folder), find_name, intake, error);
}

bool places_sync(struct intake *intake, struct error *error)
{
    for (struct place *place = intake->places; place; place = place->next) {
        if (place->is_dirty && !folder_sync(place->folder, error))
            return false;
        place->is_dirty = false;
    }
    return true;
}

void places_close(struct intake *intake)
{
    while (intake->places) {
        struct place *place = intake->places;
        intake->places = place->next;
        place_destroy(&place);
    }
}
