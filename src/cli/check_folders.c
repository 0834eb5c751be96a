/* check: every folder.conf of Pickup. */
#include "cli/check.h"
#include "pickup/place.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

struct folders { const struct config *config; const struct place_rules *rules; int pickup_fd; bool is_fine; };

static void check_place(struct folders *folders, const char *name, const char *box) /* box: of a Maildir, or NULL */
{
    const char *dir = folders->config->pickup.dir;
    struct folder_conf *conf = NULL;
    struct buf report = {0};
    enum place_state state = box ? place_read_box(folders->pickup_fd, dir, name, box, folders->rules, NULL, &conf, &report)
                                 : place_read(folders->pickup_fd, dir, name, folders->rules, NULL, &conf, &report);
    if (state == PLACE_FAULTY) {
        fputs(buf_text(&report), stdout);
        folders->is_fine = false;
    }
    folder_conf_destroy(&conf);
    buf_finish(&report);
}

static void check_one(void *arg, const char *name)
{
    struct folders *folders = arg;
    bool is_maildir = place_is_maildir(folders->pickup_fd, name);
    for (size_t i = 0; is_maildir && i < COUNT_OF(place_boxes); i++)
        check_place(folders, name, place_boxes[i]);
    if (!is_maildir)
        check_place(folders, name, NULL);
}

bool check_folders(const struct config *config, const struct signer *signer)
{
    struct place_rules rules = place_rules_of(config, signer);
    struct folders folders = {config, &rules, open(config->pickup.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), true};
    struct error error;
    if (folders.pickup_fd < 0)
        return true; /* made at the first start; what others may not list, the relay's user may */
    if (!place_each_name(folders.pickup_fd, check_one, &folders, &error)) {
        printf("%s\n", error.text);
        folders.is_fine = false;
    }
    close(folders.pickup_fd);
    return folders.is_fine;
}
