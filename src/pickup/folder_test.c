/* The rules of pickup/folder.h on a real file system: what is claimed, what stays, what is refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "pickup/folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct world {
    char path[64];
    struct folder *folder;
    struct ids ids;
};

static int build_world(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    struct error error;
    if (!world)
        return -1;
    (void)snprintf(world->path, sizeof world->path, "/tmp/mailroot-folder-XXXXXX");
    if (!mkdtemp(world->path))
        return -1;
    world->folder = folder_open(world->path, 0, 1000, &error);
    *state = world;
    return world->folder ? 0 : -1;
}

static int clear_world(void **state)
{
    struct world *world = *state;
    char command[128];
    folder_close(&world->folder);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", world->path);
    int result = system(command);
    free(world);
    return result;
}

static int put(const struct world *world, const char *name, const char *text)
{
    int fd = openat(folder_fd(world->folder), name, O_WRONLY | O_CREAT | O_EXCL, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    return fd;
}

static bool is_there(const struct world *world, const char *name)
{
    struct stat is;
    return fstatat(folder_fd(world->folder), name, &is, AT_SYMLINK_NOFOLLOW) == 0;
}

static enum claim_result claim(struct world *world, const char *name, struct claim *ret_claim)
{
    struct error error;
    return folder_claim(world->folder, name, SEEN_FINISHED, &world->ids, ret_claim, &error);
}

static void finished_file_is_claimed_and_gone_from_pickup(void **state)
{
    struct world *world = *state;
    struct claim taken;
    close(put(world, "a.eml", "hello"));
    assert_int_equal(claim(world, "a.eml", &taken), CLAIM_TAKEN);
    assert_int_equal(taken.size, 5);
    assert_false(is_there(world, "a.eml"));
    close(taken.fd);
    folder_forget(world->folder, &taken);
    assert_int_equal(claim(world, "a.eml", &taken), CLAIM_GONE);
}

static void pitfall_46_file_open_for_writing_is_never_claimed(void **state)
{
    struct world *world = *state;
    struct claim taken;
    int fd = put(world, "half.eml", "hel");
    assert_int_equal(claim(world, "half.eml", &taken), CLAIM_BUSY);
    assert_true(is_there(world, "half.eml"));
    close(fd);
    assert_int_equal(claim(world, "half.eml", &taken), CLAIM_TAKEN);
    close(taken.fd);
}

static void pitfall_47_only_plain_files_with_one_link_are_read(void **state)
{
    struct world *world = *state;
    struct claim taken;
    int dir = folder_fd(world->folder);
    close(put(world, ".original", "secret"));
    assert_int_equal(symlinkat("/etc/passwd", dir, "link.eml"), 0);
    assert_int_equal(linkat(dir, ".original", dir, "hard.eml", 0), 0);
    assert_int_equal(mkfifoat(dir, "fifo.eml", 0644), 0);
    assert_int_equal(mkdirat(dir, "folder.eml", 0755), 0);
    assert_int_equal(claim(world, "link.eml", &taken), CLAIM_REFUSED);
    assert_int_equal(claim(world, "hard.eml", &taken), CLAIM_REFUSED);
    assert_int_equal(claim(world, "fifo.eml", &taken), CLAIM_REFUSED);
    assert_int_equal(claim(world, "folder.eml", &taken), CLAIM_LEFT);
    assert_true(is_there(world, "folder.eml"));
}

static void too_large_file_is_refused_unread(void **state)
{
    struct world *world = *state;
    struct claim taken;
    int fd = put(world, "big.eml", "x");
    assert_int_equal(ftruncate(fd, (off_t)1 << 40), 0);
    close(fd);
    assert_int_equal(claim(world, "big.eml", &taken), CLAIM_REFUSED);
}

static void unfinished_names_are_left_alone(void **state)
{
    static const char *const names[] = {".hidden", "a.tmp", "B.PART", "", "x.Tmp"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_true(folder_leaves_alone(names[i]));
    assert_false(folder_leaves_alone("message.txt"));
    assert_false(folder_leaves_alone("tmp"));
}

static void uncommitted_claim_returns_and_never_overwrites(void **state)
{
    struct world *world = *state;
    struct claim taken;
    close(put(world, "a.eml", "first"));
    assert_int_equal(claim(world, "a.eml", &taken), CLAIM_TAKEN);
    close(taken.fd);
    close(put(world, "a.eml", "second"));
    assert_true(folder_give_back(world->folder, &taken));
    int count = 0;
    DIR *dir = opendir(world->path);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(dir);
    assert_int_equal(count, 2);
}

static bool knows_one(void *arg, const struct origin *origin)
{
    const struct origin *known = arg;
    return known->inode == origin->inode && known->born_ns == origin->born_ns;
}

static void pitfall_48_recovery_drops_known_claims_and_returns_others(void **state)
{
    struct world *world = *state;
    struct claim known, unknown;
    bool is_clean;
    struct error error;
    close(put(world, "known.eml", "1"));
    close(put(world, "unknown.eml", "2"));
    assert_int_equal(claim(world, "known.eml", &known), CLAIM_TAKEN);
    assert_int_equal(claim(world, "unknown.eml", &unknown), CLAIM_TAKEN);
    close(known.fd);
    close(unknown.fd);
    assert_true(folder_recover(world->folder, knows_one, &known.origin, &is_clean, &error));
    assert_true(is_clean);
    assert_false(is_there(world, "known.eml"));
    assert_true(is_there(world, "unknown.eml"));
    /* A rename that a power cut undid: the known file lies in Pickup again. */
    assert_int_equal(claim(world, "unknown.eml", &unknown), CLAIM_TAKEN);
    assert_true(folder_give_back(world->folder, &unknown));
    close(unknown.fd);
    assert_true(folder_recover(world->folder, knows_one, &unknown.origin, &is_clean, &error));
    assert_false(is_there(world, "unknown.eml"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(finished_file_is_claimed_and_gone_from_pickup, build_world, clear_world),
        cmocka_unit_test_setup_teardown(pitfall_46_file_open_for_writing_is_never_claimed, build_world, clear_world),
        cmocka_unit_test_setup_teardown(pitfall_47_only_plain_files_with_one_link_are_read, build_world, clear_world),
        cmocka_unit_test_setup_teardown(too_large_file_is_refused_unread, build_world, clear_world),
        cmocka_unit_test(unfinished_names_are_left_alone),
        cmocka_unit_test_setup_teardown(uncommitted_claim_returns_and_never_overwrites, build_world, clear_world),
        cmocka_unit_test_setup_teardown(pitfall_48_recovery_drops_known_claims_and_returns_others, build_world, clear_world),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
