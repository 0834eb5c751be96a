/* E-MailRelay's pairs: NAME.envelope and NAME.content are claimed one behind the other, committed with one message and an
 * origin each, and go together; so a crash anywhere finds either both names unclaimed or both origins known. */
#include "pickup/intake_private.h"

#include "os/clock.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

static const struct slice envelope_end = {".envelope", 9};
static const struct slice content_end = {".content", 8};

static bool other_name(struct slice name, struct slice end, struct slice other_end, char ret_other[FOLDER_NAME_SIZE])
{
    if (!slice_ends_nocase(name, end) || name.size == end.size || name.size - end.size + other_end.size >= FOLDER_NAME_SIZE)
        return false;
    (void)snprintf(ret_other, FOLDER_NAME_SIZE, "%.*s%s", (int)(name.size - end.size), name.data, other_end.data);
    return true;
}

static bool is_there(const struct place *place, const char *name)
{
    struct stat is;
    return fstatat(folder_fd(place->folder), name, &is, AT_SYMLINK_NOFOLLOW) == 0;
}

/* A half that rests alone for longer than pickup.settle is told. */
static void leave_half(struct intake *intake, struct place *place, const char *name, const char *other)
{
    struct stat is;
    struct error error;
    int64_t settle_ms = intake->parts.config->pickup.settle_ms;
    if (fstatat(folder_fd(place->folder), name, &is, AT_SYMLINK_NOFOLLOW) != 0)
        return;
    int64_t changed_ms = is.st_ctim.tv_sec * 1000LL + is.st_ctim.tv_nsec / 1000000;
    if (clock_wall_ms() - changed_ms <= settle_ms) {
        watch_scan_soon(intake->watch, settle_ms + 1);
        return;
    }
    (void)error_set(&error, "one half of a pair: there is no %.200s beside it", other);
    intake_tell_left(intake, place, name, &error);
}

enum pair_part pair_find(struct intake *intake, struct place *place, const char *name, char ret_content[FOLDER_NAME_SIZE])
{
    char other[FOLDER_NAME_SIZE];
    int dialect = prepare_dialect(intake->parts.config, place->conf);
    if (place->box || (dialect != CONFIG_DIALECT_AUTO && dialect != CONFIG_DIALECT_MAILRELAY))
        return PAIR_NOT;
    if (slice_ends_nocase(slice_of(name), SLICE(".envelope.new")) || slice_ends_nocase(slice_of(name), SLICE(".envelope.busy")))
        return PAIR_HALF; /* being written, or another relay's claim */
    bool is_envelope = other_name(slice_of(name), envelope_end, content_end, other);
    if (!is_envelope && !other_name(slice_of(name), content_end, envelope_end, other))
        return PAIR_NOT;
    if (!is_there(place, other)) {
        leave_half(intake, place, name, other);
        return PAIR_HALF;
    }
    if (!is_envelope)
        return PAIR_HALF; /* the envelope brings it along */
    (void)snprintf(ret_content, FOLDER_NAME_SIZE, "%s", other);
    return PAIR_ENVELOPE;
}
