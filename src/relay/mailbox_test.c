/* The rules of relay/mailbox.h in a folder of its own. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "os/file.h"
#include "relay/mailbox.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char base[] = "/tmp/mailbox-test-XXXXXX";

static void has_content(const char *path, const char *expected)
{
    struct buf got = {0};
    struct error error;
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    assert_true(file_read(fd, 1 << 20, &got, &error));
    assert_string_equal(buf_text(&got), expected);
    close(fd);
    buf_finish(&got);
}

static enum mailbox_result deliver(enum mailbox_kind kind, const char *folder, const char *content, char *ret_name)
{
    struct mailbox_file file = {.kind = kind, .folder = folder, .name = "0001.eml", .head = SLICE("h: 1\r\n"),
                                .content = slice_of(content)};
    struct error error;
    enum mailbox_result result = mailbox_write(&file, &error);
    if (result == MAILBOX_DONE)
        assert_true(mailbox_sync(kind, folder, &error));
    (void)snprintf(ret_name, MAILBOX_NAME_SIZE, "%s", file.name);
    return result;
}

static void M2_a_repeated_delivery_meets_its_own_file(void **state)
{
    char folder[100], path[500], name[MAILBOX_NAME_SIZE];
    (void)state;
    (void)snprintf(folder, sizeof folder, "%s/drop", base);
    assert_int_equal(deliver(MAILBOX_DROP, folder, "a\r\n", name), MAILBOX_DONE);
    assert_string_equal(name, "0001.eml");
    assert_int_equal(deliver(MAILBOX_DROP, folder, "a\r\n", name), MAILBOX_DONE);
    assert_string_equal(name, "0001.eml");
    (void)snprintf(path, sizeof path, "%s/0001.2.eml", folder);
    assert_int_equal(access(path, F_OK), -1);
}

static void M3_a_file_of_others_is_not_overwritten(void **state)
{
    char folder[100], path[500], name[MAILBOX_NAME_SIZE];
    (void)state;
    (void)snprintf(folder, sizeof folder, "%s/taken", base);
    assert_int_equal(deliver(MAILBOX_DROP, folder, "first\r\n", name), MAILBOX_DONE);
    assert_int_equal(deliver(MAILBOX_DROP, folder, "other\r\n", name), MAILBOX_DONE);
    assert_string_equal(name, "0001.2.eml");
    (void)snprintf(path, sizeof path, "%s/0001.eml", folder);
    has_content(path, "h: 1\r\nfirst\r\n");
    (void)snprintf(path, sizeof path, "%s/0001.2.eml", folder);
    has_content(path, "h: 1\r\nother\r\n");
}

static void M4_a_maildir_must_be_there(void **state)
{
    char folder[100], path[500], name[MAILBOX_NAME_SIZE];
    (void)state;
    (void)snprintf(folder, sizeof folder, "%s/joe", base);
    assert_int_equal(deliver(MAILBOX_MAILDIR, folder, "a\r\n", name), MAILBOX_NONE);
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_int_equal(deliver(MAILBOX_MAILDIR, folder, "a\r\nno end", name), MAILBOX_DONE);
    (void)snprintf(path, sizeof path, "%s/new/%s", folder, name);
    has_content(path, "h: 1\na\nno end");
    (void)snprintf(folder, sizeof folder, "%s/not-mounted/joe", base);
    assert_int_equal(deliver(MAILBOX_MAILDIR, folder, "a\r\n", name), MAILBOX_LATER);
}

static void M3_no_link_is_followed(void **state)
{
    char folder[100], path[500], name[MAILBOX_NAME_SIZE];
    (void)state;
    (void)snprintf(folder, sizeof folder, "%s/linked", base);
    (void)snprintf(path, sizeof path, "%s/linked/new", base);
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_int_equal(symlink("/tmp", path), 0);
    assert_int_equal(deliver(MAILBOX_MAILDIR, folder, "a\r\n", name), MAILBOX_LATER);
}

static const struct { const char *address, *expected; } paths[] = { /* NULL: no mailbox */
    {"joe@example.com", "/m/example.com/joe"},
    {"Joe.Doe+x@example.com", "/m/example.com/joe.doe+x"},
    {"\"a b\"@example.com", "/m/example.com/a b"},
    {"\"a\\\"b\"@example.com", "/m/example.com/a\"b"},
    {"../../etc@example.com", NULL},
    {"\"../x\"@example.com", NULL},
    {"\"..\"@example.com", NULL},
    {"\".\"@example.com", NULL},
    {".hidden@example.com", NULL},
    {"\"\"@example.com", NULL},
    {"a/b@example.com", NULL},
    {"\"a\tb\"@example.com", NULL},
    {"a%u@example.com", "/m/example.com/a%u"},
    {"joe@../etc", NULL},
    {"joe", NULL},
};

static void M5_no_address_leads_elsewhere(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        struct buf out = {0};
        bool is_path = mailbox_path("/m/%d/%u", slice_of(paths[i].address), &out);
        assert_int_equal(is_path, paths[i].expected != NULL);
        if (is_path)
            assert_string_equal(buf_text(&out), paths[i].expected);
        buf_finish(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(M2_a_repeated_delivery_meets_its_own_file),
        cmocka_unit_test(M3_a_file_of_others_is_not_overwritten),
        cmocka_unit_test(M4_a_maildir_must_be_there),
        cmocka_unit_test(M3_no_link_is_followed),
        cmocka_unit_test(M5_no_address_leads_elsewhere),
    };
    if (!mkdtemp(base))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    char command[200];
    (void)snprintf(command, sizeof command, "rm -rf %s", base);
    return system(command) ? 1 : failed;
}
