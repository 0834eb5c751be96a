#include "cli/message_file.h"

#include "cli/command.h"
#include "os/clock.h"
#include "os/file.h"
#include "pickup/mbox.h"
#include "pickup/place.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* As intake takes an mbox apart. */
static bool prepare_parts(const struct config *config, struct message_file *file)
{
    struct mbox_message *messages;
    struct prepared other = {0};
    if (!mbox_split(&file->arena, buf_slice(&file->bytes), &messages, &file->message_count, &file->error))
        return false;
    file->about.dialect = "mbox";
    for (size_t i = 0; i < file->message_count; i++) {
        struct prepared *prepared = i ? &other : &file->prepared;
        enum content_result result = prepare_message(&file->arena, config, messages[i].text, &file->about, prepared, &file->error);
        if (i)
            buf_finish(&other.content);
        if (result != CONTENT_DONE)
            return error_prefix(&file->error, "mbox, message %zu, from line %zu on", i + 1, messages[i].line);
    }
    return true;
}

bool message_file_prepare(const struct config *config, const struct folder_conf *folder, const struct signer *signer, int fd,
                          const char *path, uint64_t id, struct message_file *ret_file)
{
    struct message_file *file = ret_file;
    struct stat is = {0};
    const char *slash = strrchr(path, '/');
    int64_t now_ms = clock_wall_ms();
    *file = (struct message_file){.bytes = {0}};
    file->is_read = fstat(fd, &is) == 0 ? file_read(fd, config->limits.message_size, &file->bytes, &file->error)
                                        : error_set_errno(&file->error, "stat");
    (void)owner_look_up(is.st_uid, &file->owner);
    file->about = (struct prepare_about){
        .name = slice_of(slash ? slash + 1 : path), .owner = slice_of(file->owner.name), .id = id, .time_ms = now_ms,
        .zone_s = clock_zone_s(now_ms), .signer = signer, .folder = folder, .file_owner = owner_for_rules(&file->owner),
    };
    int dialect = prepare_dialect(config, folder);
    file->message_count = 1;
    if (file->is_read && mbox_is(file->about.name, dialect, buf_slice(&file->bytes)))
        return prepare_parts(config, file);
    return file->is_read
           && prepare_message(&file->arena, config, buf_slice(&file->bytes), &file->about, &file->prepared, &file->error) == CONTENT_DONE;
}

void message_file_finish(struct message_file *file)
{
    buf_finish(&file->prepared.content);
    buf_finish(&file->bytes);
    arena_finish(&file->arena);
}

struct folder_conf *message_file_folder(const struct config *config, const char *command, const char *name)
{
    struct place_rules rules = place_rules_of(config, NULL);
    struct folder_conf *conf = NULL;
    struct buf report = {0};
    int fd = open(config->pickup.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum place_state state = fd < 0 ? PLACE_NONE : place_read(fd, config->pickup.dir, name, &rules, NULL, &conf, &report);
    if (state == PLACE_NONE)
        (void)command_fail(command, 0, "%s/%s: no folder of Pickup with a folder.conf", config->pickup.dir, name);
    else if (!conf)
        (void)command_fail(command, 0, "%s", buf_text(&report));
    if (fd >= 0)
        close(fd);
    buf_finish(&report);
    return conf;
}
