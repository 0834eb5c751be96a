#include "cli/confine.h"

#include "base/mem.h"
#include "cli/command.h"
#include "sandbox/sandbox.h"
#include "store/store.h"
#include "smtpd/inbound.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct path_list { struct sandbox_path *items; size_t count, capacity; };

static void add(struct path_list *list, const char *path, enum sandbox_access access)
{
    if (!path || path[0] != '/')
        return;
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? 2 * list->capacity : 8;
        list->items = mem_resize(list->items, list->capacity * sizeof *list->items);
    }
    list->items[list->count++] = (struct sandbox_path){mem_copy_text(path), access};
}

/* The folder that a file lies in: it is replaced as a whole by who edits it, and the event log is renamed when it is long. */
static void add_folder_of(struct path_list *list, const char *file, enum sandbox_access access)
{
    if (!file || file[0] != '/')
        return;
    char *folder = mem_copy_text(file);
    char *slash = strrchr(folder, '/');
    slash[slash == folder] = '\0';
    add(list, folder, access);
    free(folder);
}

/* What stands before the first component with a %. */
static void add_pattern(struct path_list *list, const char *pattern, enum sandbox_access access)
{
    if (!pattern || !strchr(pattern, '%')) {
        add(list, pattern, access);
        return;
    }
    char *part = mem_copy_text(pattern);
    *strchr(part, '%') = '\0';
    add_folder_of(list, part, access);
    free(part);
}

/* What a config names to be read; SIGHUP reads it again. */
static void list_readable(const struct config *config, struct path_list *list)
{
    const char *const files[] = {config->file, config->dns.trust_anchor, config->local.alias_file, config->smtp.users,
                                 config->smtp.tls_cert, config->smtp.tls_key, config->delivery.tls_ca_file,
                                 config->delivery.tls_certificate, config->delivery.tls_key, config->mta_sts.ca_file};
    for (size_t i = 0; i < COUNT_OF(files); i++)
        add_folder_of(list, files[i], SANDBOX_READ);
    for (size_t i = 0; i < config->route_count; i++)
        add_folder_of(list, config->routes[i].oauth.ca_file, SANDBOX_READ);
}

static void list_writable(const struct config *config, struct path_list *list)
{
    add(list, config->root, SANDBOX_WRITE);
    add(list, config->pickup.dir, SANDBOX_WRITE);
    add(list, config->receipts.dir, SANDBOX_WRITE);
    add_folder_of(list, config->events.file, SANDBOX_WRITE);
    add(list, config->w3c.dir, SANDBOX_WRITE);
    for (size_t i = 0; i < config->route_count; i++) {
        add(list, config->routes[i].drop_dir, SANDBOX_WRITE);
        add_pattern(list, config->routes[i].maildir, SANDBOX_WRITE);
        add_folder_of(list, config->routes[i].oauth.token_file, SANDBOX_WRITE); /* replaced by a new one */
    }
}

/* Takes the list over. */
static bool enter(enum sandbox_role role, struct path_list *list, struct error *error)
{
    const char *missing = NULL;
    bool is_done = sandbox_enter(role, list->items, list->count, &missing, error);
    if (is_done && missing)
        (void)command_fail("run", 0, "this kernel has no %s: this process is less confined than it could be", missing);
    for (size_t i = 0; i < list->count; i++)
        free((char *)list->items[i].path);
    free(list->items);
    return is_done;
}

static void add_readable(void *arg, const char *path)
{
    add(arg, path, SANDBOX_READ);
}

bool confine_relay(const struct config *config, struct error *error)
{
    struct path_list list = {0};
    if (!config->is_sandboxed)
        return true;
    list_writable(config, &list);
    if (config->store)
        store_url_files(config->store, add_readable, &list);
    list_readable(config, &list);
    return enter(SANDBOX_RELAY, &list, error);
}

bool confine_lab(const struct config *config, const char *dir, struct error *error)
{
    struct path_list list = {0};
    if (!config->is_sandboxed)
        return true;
    add(&list, dir, SANDBOX_WRITE);
    list_readable(config, &list);
    return enter(SANDBOX_LAB, &list, error);
}

bool confine_rehearsal(const struct config *config, const char *dir, struct error *error)
{
    struct path_list list = {0};
    if (!config->is_sandboxed)
        return true;
    add(&list, dir, SANDBOX_WRITE);
    list_readable(config, &list);
    return enter(SANDBOX_RELAY, &list, error);
}

bool confine_listener(const struct config *config, struct error *error)
{
    struct path_list list = {0};
    if (!config->is_sandboxed)
        return true;
    add(&list, config->pickup.dir, SANDBOX_DROP);
    list_readable(config, &list);
    return enter(inbound_is_wanted(config) ? SANDBOX_CHECKING_LISTENER : SANDBOX_LISTENER, &list, error);
}

bool confine_gateway(const struct config *config, struct error *error)
{
    struct path_list list = {0};
    char badmail[4200];
    if (!config->is_sandboxed)
        return true;
    (void)snprintf(badmail, sizeof badmail, "%s/Badmail", config->root);
    add(&list, badmail, SANDBOX_WRITE);
    add(&list, config->pickup.dir, SANDBOX_DROP);
    add(&list, config->web.results, SANDBOX_WRITE);
    add(&list, config->web.token_file, SANDBOX_READ);
    if (config->web.pages)
        add(&list, config->web.pages, SANDBOX_READ);
    if (config->web.certificate)
        add(&list, config->web.certificate, SANDBOX_READ);
    if (config->web.key)
        add(&list, config->web.key, SANDBOX_READ);
    add_folder_of(&list, config->events.file, SANDBOX_READ);
    list_readable(config, &list);
    return enter(SANDBOX_GATEWAY, &list, error);
}

bool confine_hooks(const struct config *config, struct error *error)
{
    struct path_list list = {0};
    char folder[4200];
    if (!config->is_sandboxed)
        return true;
    (void)snprintf(folder, sizeof folder, "%s/Hooks", config->root);
    add(&list, folder, SANDBOX_WRITE);
    add_folder_of(&list, config->events.file, SANDBOX_READ);
    for (size_t i = 0; i < config->hook_count; i++)
        add_folder_of(&list, config->hooks[i].ca_file, SANDBOX_READ);
    add_folder_of(&list, config->otlp.ca_file, SANDBOX_READ);
    add_folder_of(&list, config->file, SANDBOX_READ); /* SIGHUP reads it again */
    return enter(SANDBOX_HOOKS, &list, error);
}
