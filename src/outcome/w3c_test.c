/* X1 to X5 of outcome/w3c.h. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "os/file.h"
#include "outcome/w3c.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const int64_t some_ms = INT64_C(1790596657000);

static const struct { enum w3c_format format; enum w3c_period period; int64_t wall_ms; unsigned number; const char *expected; } names[] = {
    {W3C_EXTENDED, W3C_DAILY, INT64_C(1155907057000), 0, "ex060818.log"},
    {W3C_EXTENDED, W3C_HOURLY, INT64_C(1155907057000), 0, "ex06081813.log"},
    {W3C_EXTENDED, W3C_WEEKLY, INT64_C(1155907057000), 0, "ex060803.log"},
    {W3C_EXTENDED, W3C_MONTHLY, INT64_C(1155907057000), 0, "ex0608.log"},
    {W3C_EXTENDED, W3C_BY_SIZE, INT64_C(1155907057000), 7, "extend7.log"},
    {W3C_NCSA, W3C_DAILY, INT64_C(1155907057000), 0, "nc060818.log"},
    {W3C_NCSA, W3C_BY_SIZE, INT64_C(1155907057000), 7, "ncsa7.log"},
    {W3C_IIS, W3C_MONTHLY, INT64_C(1155907057000), 0, "in0608.log"},
    {W3C_IIS, W3C_BY_SIZE, INT64_C(1155907057000), 7, "inetsv7.log"},
};

static void X3_files_have_the_names_that_iis_gave(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char name[32];
        w3c_file_name(names[i].format, names[i].period, names[i].wall_ms, names[i].number, name, sizeof name);
        assert_string_equal(name, names[i].expected);
    }
}

static char base[] = "/tmp/w3c-test-XXXXXX";

static char *read_log(const char *name)
{
    char path[300];
    struct buf text = {0};
    struct error error;
    (void)snprintf(path, sizeof path, "%s/%s", base, name);
    int fd = open(path, O_RDONLY);
    if (fd < 0)
        return NULL;
    assert_true(file_read(fd, 1 << 20, &text, &error));
    close(fd);
    (void)unlink(path);
    return buf_take(&text);
}

static struct w3c_log *open_log(int period, uint64_t rotate_size, struct config_list fields)
{
    struct config config = {.hostname = (char *)(uintptr_t)"relay.test",
                            .w3c = {.dir = base, .period = period, .rotate_size = rotate_size, .fields = fields}};
    struct w3c_log *log;
    struct error error;
    assert_true(w3c_open(&config, &log, &error));
    assert_non_null(log);
    return log;
}

static struct event delivered(void)
{
    struct event event = EVENT(EVENT_DELIVERED);
    event.recipient = SLICE("\"a b\"@x.test");
    event.host = SLICE("mx.test");
    event.address = SLICE("[2001:db8::1]:25");
    event.stage = SLICE("final");
    event.code = 250;
    event.transaction_ms = 42;
    event.pickup = SLICE("evil\r\nname .eml");
    return event;
}

static void X4_text_of_others_makes_no_field_and_no_line(void **state)
{
    char *items[] = {(char *)(uintptr_t)"date", (char *)(uintptr_t)"time", (char *)(uintptr_t)"c-ip", (char *)(uintptr_t)"cs-method",
                     (char *)(uintptr_t)"cs-uri-stem", (char *)(uintptr_t)"cs-uri-query", (char *)(uintptr_t)"sc-status",
                     (char *)(uintptr_t)"time-taken"};
    struct w3c_log *log = open_log(W3C_DAILY, 0, (struct config_list){items, COUNT_OF(items)});
    struct event event = delivered(), other = EVENT(EVENT_DONE);
    (void)state;
    w3c_put(log, &event, INT64_C(1155907057000));
    w3c_put(log, &other, INT64_C(1155907057000));
    assert_true(w3c_flush(log));
    w3c_close(&log);
    char *text = read_log("ex060818.log");
    assert_non_null(text);
    assert_string_equal(strstr(text, "#Version"),
                        "#Version: 1.0\r\n#Date: 2006-08-18 13:17:37\r\n"
                        "#Fields: date time c-ip cs-method cs-uri-stem cs-uri-query sc-status time-taken\r\n"
                        "2006-08-18 13:17:37 2001:db8::1 DATA evil??name+.eml +TO:<\"a+b\"@x.test> 250 42\r\n");
    free(text);
}

static void X3_a_new_day_is_a_new_file_with_a_head(void **state)
{
    struct w3c_log *log = open_log(W3C_DAILY, 0, (struct config_list){NULL, 0});
    struct event event = delivered();
    (void)state;
    w3c_put(log, &event, INT64_C(1155907057000));
    w3c_put(log, &event, INT64_C(1155907057000) + 86400000);
    w3c_close(&log);
    char *first = read_log("ex060818.log"), *second = read_log("ex060819.log");
    assert_non_null(first);
    assert_non_null(second);
    assert_non_null(strstr(first, "2006-08-18 13:17:37 2001:db8::1 OutboundConnectionCommand SMTPSVC1 relay.test DATA"));
    assert_null(strstr(first, "2006-08-19"));
    assert_non_null(strstr(second, "#Fields: date time c-ip cs-username"));
    free(first);
    free(second);
}

static void X3_a_full_file_is_followed_by_the_next_number(void **state)
{
    struct w3c_log *log = open_log(W3C_BY_SIZE, 1024, (struct config_list){NULL, 0});
    struct event event = delivered();
    (void)state;
    for (int i = 0; i < 30; i++) {
        w3c_put(log, &event, some_ms);
        assert_true(w3c_flush(log));
    }
    w3c_close(&log);
    char *first = read_log("extend1.log"), *second = read_log("extend2.log");
    assert_non_null(first);
    assert_non_null(second);
    assert_true(strlen(first) < 1024 + 300 && strstr(second, "#Fields"));
    free(first);
    free(second);
}

static struct event command(void)
{
    struct event event = EVENT(EVENT_COMMAND);
    event.client = SLICE("10.3.5.1");
    event.helo = SLICE("nwtraders.test");
    event.note = SLICE("MAIL");
    event.reason = SLICE("FROM:<\"a,b\"@nwtraders.test>");
    event.code = 250;
    event.octets_in = 42;
    event.octets_out = 14;
    event.transaction_ms = 90;
    return event;
}

static void X1_a_command_of_a_client_is_a_line_in_each_form(void **state)
{
    static const struct { enum w3c_format format; const char *file, *line; } rows[] = {
        {W3C_EXTENDED, "ex060818.log",
         "2006-08-18 13:17:37 10.3.5.1 nwtraders.test SMTPSVC1 relay.test MAIL - +FROM:<\"a,b\"@nwtraders.test> 250 14 90\r\n"},
        {W3C_NCSA, "nc060818.log",
         "10.3.5.1 - nwtraders.test [18/Aug/2006:13:17:37 +0000] \"MAIL -?+FROM:<?a,b?@nwtraders.test> SMTP\" 250 14\r\n"},
        {W3C_IIS, "in060818.log",
         "10.3.5.1, nwtraders.test, 08/18/06, 13:17:37, SMTPSVC1, relay.test, -, 90, 42, 14, 250, 0, MAIL, -, "
         "+FROM:<\"a?b\"@nwtraders.test>,\r\n"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct config config = {.hostname = (char *)(uintptr_t)"relay.test", .w3c = {.dir = base, .format = rows[i].format}};
        struct event event = command();
        struct w3c_log *log;
        struct error error;
        assert_true(w3c_open(&config, &log, &error));
        w3c_put(log, &event, INT64_C(1155907057000));
        w3c_close(&log);
        char *text = read_log(rows[i].file);
        assert_non_null(text);
        const char *line = rows[i].format == W3C_EXTENDED ? strstr(text, "2006-08-18 13:17:37 10") : text;
        assert_string_equal(line, rows[i].line);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(X3_files_have_the_names_that_iis_gave),
        cmocka_unit_test(X4_text_of_others_makes_no_field_and_no_line),
        cmocka_unit_test(X3_a_new_day_is_a_new_file_with_a_head),
        cmocka_unit_test(X1_a_command_of_a_client_is_a_line_in_each_form),
        cmocka_unit_test(X3_a_full_file_is_followed_by_the_next_number),
    };
    if (!mkdtemp(base))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    char command[200];
    (void)snprintf(command, sizeof command, "rm -rf %s", base);
    return system(command) ? 1 : failed;
}
