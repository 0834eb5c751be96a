/* The folder, the config and the relay of a run. */
#include "lab/lab_private.h"

#include "base/mem.h"
#include "os/clock.h"
#include "os/post.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_SIZE = 64 * 1024 };

static char *path_in(const char *dir, const char *name)
{
    struct buf path = {0};
    buf_printf(&path, "%s/%s", dir, name);
    return buf_take(&path);
}

/* ---- the config ---- */

static void add(struct config_list *settings, const char *key, const char *value)
{
    struct buf text = {0};
    buf_printf(&text, "%s=%s", key, value);
    settings->items = mem_resize(settings->items, (settings->count + 1) * sizeof *settings->items);
    settings->items[settings->count++] = buf_take(&text);
}

/* What a run starts from, so that it is the same everywhere; -o and the scenario may say otherwise. */
static void add_standards(const struct lab *lab, struct config_list *settings)
{
    add(settings, "hostname", "relay.lab.test");
    add(settings, "delivery.tls_ca_file", lab->ca_file);
    add(settings, "dns.allow_private", "true"); /* hosts have addresses of documentation */
}

/* L3, whatever anybody says. */
static void add_walls(const struct lab *lab, struct config_list *settings)
{
    add(settings, "root", lab->parts->dir);
    add(settings, "store", "sqlite");
    add(settings, "queue.volatile", "true");
    add(settings, "events.file", lab->events_file);
    add(settings, "events.stdout", "false");
    add(settings, "events.rotate_size", "0");
    add(settings, "pickup.dir", "Pickup");
    add(settings, "receipts.dir", "Receipts");
    add(settings, "receipts.enabled", "false");
    add(settings, "w3c.dir", "");
    add(settings, "mta_sts.enabled", "false");
    add(settings, "tlsrpt.enabled", "false");
    add(settings, "dns.trust_anchor", "none");
    add(settings, "dns.hosts", "");
}

static void free_list(struct config_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    *list = (struct config_list){0};
}

/* Users can't log in at the lab's hosts, and what stays on this machine stays in the run's folder. */
static void tame_routes(struct config *config)
{
    for (size_t i = 0; i < config->route_count; i++) {
        struct config_route *route = &config->routes[i];
        free(route->user);
        route->user = NULL;
        free_list(&route->auth_mechanisms);
        if (route->deliver == CONFIG_DELIVER_MAILDIR)
            route->deliver = CONFIG_DELIVER_DROP;
        if (route->deliver == CONFIG_DELIVER_DROP) {
            free(route->drop_dir);
            route->drop_dir = path_in(config->root, "Drop");
        }
    }
}

static bool load_config(struct lab *lab, struct buf *report)
{
    const struct scenario *scenario = lab->play.scenario;
    struct config_list settings = {0};
    add_standards(lab, &settings);
    size_t standard = settings.count, own = lab->parts->setting_count;
    settings.items = mem_resize(settings.items, (standard + own + scenario->setting_count) * sizeof *settings.items);
    for (size_t i = 0; i < own; i++)
        settings.items[settings.count++] = mem_copy_text(lab->parts->settings[i]);
    for (size_t i = 0; i < scenario->setting_count; i++)
        settings.items[settings.count++] = mem_copy_text(scenario->settings[i]);
    add_walls(lab, &settings);
    lab->config = config_load(lab->parts->config_file ? lab->parts->config_file : lab->no_config, (const char *const *)settings.items,
                              settings.count, report);
    free_list(&settings);
    if (lab->config)
        tame_routes(lab->config);
    return lab->config != NULL;
}

/* ---- the folder ---- */

static bool make_folders(const struct lab *lab, struct error *error)
{
    static const char *const names[] = {"Queue", "Badmail", "Drop", "Pickup"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char *path = path_in(lab->parts->dir, names[i]);
        bool is_made = mkdir(path, 0700) == 0 || error_set_errno(error, path);
        free(path);
        if (!is_made)
            return false;
    }
    /* An empty config: else the machine's own would be read. */
    int fd = open(lab->no_config, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return fd >= 0 ? close(fd) == 0 : error_set_errno(error, lab->no_config);
}

static bool open_files(struct lab *lab, struct error *error)
{
    char *badmail = path_in(lab->parts->dir, "Badmail");
    lab->log = event_log_open(lab->config, error);
    bool is_open = lab->log && badmail_open(badmail, &lab->badmail, error);
    free(badmail);
    lab->events_fd = is_open ? open(lab->events_file, O_RDONLY | O_CLOEXEC) : -1;
    return is_open && (lab->events_fd >= 0 || error_set_errno(error, lab->events_file));
}

bool lab_make_world(struct lab *lab, struct buf *report)
{
    struct error error;
    const char *dir = lab->parts->dir;
    lab->queue_dir = path_in(dir, "Queue");
    lab->events_file = path_in(dir, "events.jsonl");
    lab->ca_file = path_in(dir, "authority.pem");
    lab->no_config = path_in(dir, "none.conf");
    lab->place = (struct store_place){.dir = lab->queue_dir};
    lab->certificates = certificates_create(&error);
    bool is_made = lab->certificates && make_folders(lab, &error) && certificates_write(lab->certificates, lab->ca_file, &error);
    if (is_made && !load_config(lab, report))
        return false;
    if (is_made && open_files(lab, &error))
        return true;
    buf_printf(report, "%s\n", error.text);
    return false;
}

/* ---- the relay ---- */

bool lab_start_relay(struct lab *lab, struct error *error)
{
    uint64_t last = lab->ids.last;
    struct relay_parts parts = {.base = lab->base, .config = lab->config, .ids = &lab->ids, .post = lab->post, .log = lab->log,
                                .badmail = &lab->badmail, .queue_dir = lab->queue_dir, .place = &lab->place, .receipts_fd = -1,
                                .resolver = &lab->resolver, .network = &lab->network};
    lab->is_finished = false;
    lab->writer = parts.writer = writer_open(&lab->place, error);
    ids_start(&lab->ids, last, 0);
    lab->relay = lab->writer ? relay_start(&parts, error) : NULL;
    return lab->relay != NULL;
}

void lab_stop_relay(struct lab *lab)
{
    writer_stop(&lab->writer);
    if (lab->post)
        post_run(lab->post);
    relay_destroy(&lab->relay);
}

/* ---- what it tells ---- */

void lab_read_events(struct lab *lab)
{
    event_flush(lab->log);
    for (;;) {
        ssize_t got = read(lab->events_fd, buf_reserve(&lab->events, READ_SIZE), READ_SIZE);
        if (got <= 0)
            break;
        lab->events.size += (size_t)got;
    }
    struct slice rest = buf_slice(&lab->events);
    while (rest.size) {
        struct slice line = slice_cut(&rest, '\n');
        json_t *event = json_loadb(line.data, line.size, 0, NULL);
        if (event)
            lab->parts->event(lab->parts->arg, event, play_now_ms(&lab->play));
        json_decref(event);
    }
    buf_clear(&lab->events);
}
