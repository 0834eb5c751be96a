#include "pickup/place.h"

#include "base/mem.h"
#include "os/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char conf_name[] = "folder.conf";

/* ---- folder.conf ---- */

struct place_rules place_rules_of(const struct config *config, const struct signer *signer)
{
    struct passwd entry, *found = NULL;
    char texts[2048];
    if (geteuid() == 0) /* `mailroot check`, or a relay that stays root */
        (void)getpwnam_r(config->user, &entry, texts, sizeof texts, &found);
    return (struct place_rules){config, signer, found ? found->pw_uid : geteuid()};
}

static bool is_trusted(const struct place_rules *rules, uid_t uid)
{
    return uid == 0 || uid == rules->trusted;
}

/* L1. NULL if all is well. */
static const char *conf_fault(const struct stat *is, const struct place_rules *rules)
{
    if (!S_ISREG(is->st_mode))
        return "a plain file was expected, no link";
    if (is->st_nlink != 1)
        return "a file with one name was expected: no hard links";
    if (!is_trusted(rules, is->st_uid))
        return "must belong to root or to the relay's user";
    if (is->st_mode & (S_IWGRP | S_IWOTH))
        return "others can change it: chmod go-w it";
    return NULL;
}

static const char *folder_fault(const struct stat *is, const struct place_rules *rules)
{
    if (!is_trusted(rules, is->st_uid))
        return "the folder must belong to root or to the relay's user";
    if ((is->st_mode & S_IWOTH) && !(is->st_mode & S_ISVTX))
        return "everybody can remove others' files in this folder: chmod +t it";
    if ((is->st_mode & S_ISVTX) && is->st_uid != rules->trusted)
        return "a sticky folder must belong to the relay's user, else nothing of others could be taken out of it";
    return NULL;
}

static bool dkim_names_known(const struct folder_conf *conf, const struct place_rules *rules, struct buf *report)
{
    bool is_fine = true;
    for (size_t i = 0; rules->signer && i < conf->dkim.count; i++) {
        if (strcmp(conf->dkim.items[i], "off") == 0 || signer_has(rules->signer, slice_of(conf->dkim.items[i])))
            continue;
        buf_printf(report, "%s: dkim: \"%s\": domain/selector or domain of a dkim section in mailroot.conf was expected, or off\n",
                   conf->file, conf->dkim.items[i]);
        is_fine = false;
    }
    return is_fine;
}

static bool sources_known(const struct folder_conf *conf, const struct config *config, struct buf *report)
{
    bool is_fine = true;
    for (size_t i = 0; i < conf->sources.count; i++) {
        bool is_known = false;
        for (size_t k = 0; k < config->source_count; k++)
            is_known = is_known || strcmp(config->sources[k].name, conf->sources.items[i]) == 0;
        if (!is_known)
            buf_printf(report, "%s: source: \"%s\": the name of a source section in mailroot.conf was expected\n", conf->file,
                       conf->sources.items[i]);
        is_fine = is_fine && is_known;
    }
    return is_fine;
}

static struct folder_conf *conf_read(int fd, const char *name, const char *file, const struct place_rules *rules, struct buf *report)
{
    struct buf text = {0};
    struct error error;
    struct folder_conf *conf = NULL;
    if (!file_read(fd, FOLDER_CONF_SIZE_MAX, &text, &error))
        buf_printf(report, "%s: %s\n", file, error.text);
    else
        conf = folder_conf_parse(name, file, buf_slice(&text), report);
    buf_finish(&text);
    if (conf && (!dkim_names_known(conf, rules, report) || !sources_known(conf, rules->config, report)))
        folder_conf_destroy(&conf);
    return conf;
}

static enum place_state conf_judge(int folder_fd, const char *name, const char *file, const struct place_rules *rules,
                                   struct folder_conf **ret_conf, struct buf *report)
{
    struct stat is, folder;
    int fd = openat(folder_fd, conf_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    const char *fault = fd < 0 || fstat(fd, &is) != 0 || fstat(folder_fd, &folder) != 0
                            ? errno == ELOOP ? "a plain file was expected, no link" : strerrordesc_np(errno)
                            : conf_fault(&is, rules);
    if (!fault)
        fault = folder_fault(&folder, rules);
    if (!fault && !folder_conf_is_name(name))
        fault = "the folder's name can have letters, digits, \".\", \"_\" and \"-\" only";
    if (fault)
        buf_printf(report, "%s: %s\n", file, fault);
    else
        *ret_conf = conf_read(fd, name, file, rules, report);
    if (fd >= 0)
        close(fd);
    return *ret_conf ? PLACE_CHANGED : PLACE_FAULTY;
}

static bool is_same(const struct place_mark *a, const struct place_mark *b)
{
    return a->device == b->device && a->inode == b->inode && a->folder_inode == b->folder_inode && a->size == b->size
           && a->changed_ns == b->changed_ns && a->folder_uid == b->folder_uid && a->folder_mode == b->folder_mode
           && a->box_inode == b->box_inode && a->box_uid == b->box_uid && a->box_mode == b->box_mode;
}

enum place_state place_read(int pickup_fd, const char *pickup_dir, const char *name, const struct place_rules *rules,
                            struct place_mark *mark, struct folder_conf **ret_conf, struct buf *report)
{
    struct stat is, folder;
    char file[4200];
    *ret_conf = NULL;
    int folder_fd = openat(pickup_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (folder_fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
        return PLACE_NONE;
    (void)snprintf(file, sizeof file, "%s/%s/%s", pickup_dir, name, conf_name);
    if (folder_fd < 0) {
        buf_printf(report, "%s: %s\n", file, strerrordesc_np(errno));
        return PLACE_FAULTY;
    }
    if (fstatat(folder_fd, conf_name, &is, AT_SYMLINK_NOFOLLOW) != 0 || fstat(folder_fd, &folder) != 0) {
        close(folder_fd);
        return PLACE_NONE;
    }
    struct place_mark now = {is.st_dev, is.st_ino, folder.st_ino, (uint64_t)is.st_size,
                             (int64_t)is.st_ctim.tv_sec * 1000000000 + is.st_ctim.tv_nsec, folder.st_uid, folder.st_mode};
    enum place_state state = PLACE_SAME;
    if (!mark || !is_same(mark, &now))
        state = conf_judge(folder_fd, name, file, rules, ret_conf, report);
    if (mark)
        *mark = now;
    close(folder_fd);
    return state;
}

/* ---- Maildirs ---- */

const char *const place_boxes[2] = {"new", "cur"};

static bool is_folder_in(int folder_fd, const char *name, struct stat *ret_is)
{
    return fstatat(folder_fd, name, ret_is, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(ret_is->st_mode);
}

bool place_is_maildir(int pickup_fd, const char *name)
{
    static const char *const parts[] = {"new", "cur", "tmp"};
    struct stat is;
    int folder_fd = openat(pickup_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    bool is_one = folder_fd >= 0;
    for (size_t i = 0; is_one && i < COUNT_OF(parts); i++)
        is_one = is_folder_in(folder_fd, parts[i], &is);
    if (folder_fd >= 0)
        close(folder_fd);
    return is_one;
}

/* Of both folders, what stat says. False: they are no Maildir any more. */
static bool mark_box(int pickup_fd, const char *name, const char *box, struct place_mark *mark, struct stat *ret_folder, struct stat *ret_box)
{
    int folder_fd = openat(pickup_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    bool is_there = folder_fd >= 0 && fstat(folder_fd, ret_folder) == 0 && is_folder_in(folder_fd, box, ret_box);
    if (folder_fd >= 0)
        close(folder_fd);
    mark->box_inode = is_there ? ret_box->st_ino : 0;
    mark->box_uid = is_there ? ret_box->st_uid : 0;
    mark->box_mode = is_there ? ret_box->st_mode : 0;
    return is_there;
}

enum place_state place_read_box(int pickup_fd, const char *pickup_dir, const char *name, const char *box, const struct place_rules *rules,
                                struct place_mark *mark, struct folder_conf **ret_conf, struct buf *report)
{
    struct stat folder, is;
    struct place_mark now = mark ? *mark : (struct place_mark){0};
    now.box_inode = 0; /* as place_read() knows it */
    now.box_uid = 0;
    now.box_mode = 0;
    enum place_state state = place_read(pickup_fd, pickup_dir, name, rules, mark ? &now : NULL, ret_conf, report);
    bool has_conf = state != PLACE_NONE;
    if (!has_conf)
        now = (struct place_mark){0};
    if (!mark_box(pickup_fd, name, box, &now, &folder, &is)) {
        folder_conf_destroy(ret_conf);
        return PLACE_NONE;
    }
    if (!has_conf) {
        now.folder_inode = folder.st_ino;
        now.folder_uid = folder.st_uid;
        now.folder_mode = folder.st_mode;
        state = PLACE_CHANGED;
    }
    if (state == PLACE_SAME && !is_same(mark, &now)) /* only the box is another */
        state = place_read(pickup_fd, pickup_dir, name, rules, NULL, ret_conf, report);
    bool is_known = mark && is_same(mark, &now);
    const char *fault = state == PLACE_CHANGED ? folder_fault(&folder, rules) : NULL;
    if (state == PLACE_CHANGED && !fault)
        fault = folder_fault(&is, rules);
    if (fault && !is_known)
        buf_printf(report, "%s/%s/%s: %s\n", pickup_dir, name, box, fault);
    if (mark)
        *mark = now;
    if (fault || is_known)
        folder_conf_destroy(ret_conf);
    return is_known ? PLACE_SAME : fault ? PLACE_FAULTY : state;
}

bool place_is_for_sending(const struct place *place, const char *file)
{
    const char *flags = place->box ? strstr(file, ":2,") : NULL;
    return !flags || !strpbrk(flags + 3, "DT");
}

/* ---- life ---- */

struct place *place_create(const char *pickup_dir, const char *name, const char *box)
{
    struct place *place = mem_alloc(sizeof *place);
    struct buf path = {0};
    buf_printf(&path, "%s%s%s%s%s", pickup_dir, name[0] ? "/" : "", name, box ? "/" : "", box ? box : "");
    place->name = mem_copy_text(name);
    place->box = box;
    place->path = buf_take(&path);
    return place;
}

void place_destroy(struct place **place)
{
    if (!*place)
        return;
    folder_close(&(*place)->folder);
    place_drop_outdated(*place);
    folder_conf_destroy(&(*place)->conf);
    free((*place)->path);
    free((*place)->name);
    free(*place);
    *place = NULL;
}

void place_drop_outdated(struct place *place)
{
    while (place->outdated) {
        struct folder_conf *conf = place->outdated;
        place->outdated = conf->older;
        folder_conf_destroy(&conf);
    }
}

/* The mistakes in one line. */
static void set_fault(struct place *place, struct buf *report)
{
    while (report->size && report->data[report->size - 1] == '\n')
        report->size--;
    for (size_t i = 0; i < report->size; i++)
        if (report->data[i] == '\n')
            report->data[i] = ';';
    (void)error_set(&place->fault, "nothing is taken from this folder: %s", buf_text(report));
}

enum place_state place_look(struct place *place, int pickup_fd, const char *pickup_dir, const struct place_rules *rules)
{
    const struct config *config = rules->config;
    struct folder_conf *conf;
    struct buf report = {0};
    struct error error;
    struct place_mark before = place->mark;
    enum place_state state = place->box ? place_read_box(pickup_fd, pickup_dir, place->name, place->box, rules, &place->mark, &conf, &report)
                                        : place_read(pickup_fd, pickup_dir, place->name, rules, &place->mark, &conf, &report);
    bool is_other = place->mark.folder_inode != before.folder_inode || place->mark.box_inode != before.box_inode;
    if (place->folder && is_other)
        state = PLACE_NONE; /* another folder of that name: a place of its own */
    if (state == PLACE_CHANGED && !place->folder) {
        place->folder = folder_open(place->path, config->pickup.settle_ms, config->limits.message_size, &error);
        if (!place->folder) {
            buf_printf(&report, "%s\n", error.text);
            state = PLACE_FAULTY;
            place->mark = (struct place_mark){0}; /* what is wrong isn't in folder.conf: look again */
        }
    }
    if (place->folder && place->box)
        folder_expect_links(place->folder);
    if (state == PLACE_CHANGED || state == PLACE_FAULTY) {
        if (place->conf)
            place->conf->older = place->outdated;
        place->outdated = place->conf ? place->conf : place->outdated;
        place->conf = NULL;
        place->fault.text[0] = '\0';
    }
    if (state == PLACE_CHANGED) {
        place->conf = conf;
    } else {
        folder_conf_destroy(&conf);
        if (state == PLACE_FAULTY)
            set_fault(place, &report);
    }
    buf_finish(&report);
    return state;
}

struct names { int pickup_fd; place_name_fn *fn; void *arg; };

static void on_name(void *arg, const char *name, unsigned char type)
{
    const struct names *names = arg;
    struct stat is;
    if (folder_leaves_alone(name) || (type != DT_DIR && type != DT_UNKNOWN))
        return;
    if (type == DT_DIR || (fstatat(names->pickup_fd, name, &is, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(is.st_mode)))
        names->fn(names->arg, name);
}

bool place_each_name(int pickup_fd, place_name_fn *fn, void *arg, struct error *error)
{
    struct names names = {pickup_fd, fn, arg};
    return folder_each_name(pickup_fd, on_name, &names, error);
}
