/* The rules of config/config.h: what is taken, and how each mistake is said. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "config/config.h"
#include "config/value.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct config *load(const char *text, struct buf *report)
{
    char path[] = "/tmp/mailroot-config-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    struct config *config = config_load(path, NULL, 0, report);
    (void)unlink(path);
    return config;
}

static void values_have_units_and_sections(void **state)
{
    (void)state;
    struct buf report = {0};
    struct config *config = load("# a comment\nroot = /srv/mail; hostname = \"Mail.Example.COM\"\r\n"
                                 "queue { expire = 2d, retry_first: \"1h30m\" }\n"
                                 "dns {\n servers = [\"127.0.0.1:5353\",\n \"[::1]:53\"]\n allow_private = yes\n}\n"
                                 "limits { message_size = 10MB }\ndelivery { timeouts { connect = 500ms } tls = must }\n", &report);
    assert_string_equal(buf_text(&report), "");
    assert_non_null(config);
    assert_string_equal(config->root, "/srv/mail");
    assert_string_equal(config->hostname, "mail.example.com");
    assert_int_equal(config->queue.schedule.expire_ms, 2 * 86400000LL);
    assert_int_equal(config->queue.schedule.retry_ms[0], 5400000);
    assert_int_equal(config->dns.servers.count, 2);
    assert_string_equal(config->dns.servers.items[1], "[::1]:53");
    assert_true(config->dns.is_private_allowed);
    assert_int_equal(config->limits.message_size, 10 * 1024 * 1024);
    assert_int_equal(config->delivery.timeout_ms.connect, 500);
    assert_int_equal(config->delivery.tls, CONFIG_TLS_MUST);
    assert_string_equal(config->pickup.dir, "/srv/mail/Pickup");
    config_destroy(&config);
    buf_finish(&report);
}

static void every_mistake_is_said_with_its_line(void **state)
{
    static const struct { const char *text, *said; } cases[] = {
        {"route \"x.test\" { host = a }", "route.x.test.host: unknown key of a route; did you mean hosts?"},
        {"route \"x.test\" { rate = 10 }", "no rate; accepted: messages/duration"},
        {"dns { servers = [\"localhost\"] }", "dns.servers: \"localhost\": an address, with or without a port was expected"},
        {"dns { hosts { a.test = b.test } }", "dns.hosts: \"a.test=b.test\": name = address was expected"},
        {"delivery { source = [\"10.0.0.1:25\"] }", "delivery.source: \"10.0.0.1:25\": an address was expected"},
        {"qeue { expire = 1d }\n", ":1: qeue.expire: unknown key; did you mean queue.expire?"},
        {"\nqueue {\n expire = \"5 parsecs\"\n}", ":3: queue.expire: \"5 parsecs\" is no duration; accepted: "},
        {"queue.expire = 5", ":1: queue.expire: \"5\" is no duration"},
        {"limits { message_size = 10 MB }", "limits.message_size: \"10 MB\" is no size"},
        {"limits { message_size = -1 }", "limits.message_size: \"-1\" is no size"},
        {"delivery { port = 99999 }", "delivery.port: \"99999\": a number from 1 to 65535"},
        {"delivery { port = 18446744073709551641 }", "delivery.port: "},
        {"delivery { tls = maybe }", "delivery.tls: \"maybe\"; accepted: never, may, must, verify, fingerprint"},
        {"dns { ipv6 = perhaps }", "dns.ipv6: \"perhaps\": true or false"},
        {"hostname = \"a b\"", "hostname: "},
        {"queue { expire = 1d", "line 1: \"}\" at the end of a section was expected"},
        {"root \"x\"\n", "line 1: \"=\" or \"{\" behind a key was expected"},
        {"root = \"x\n", "line 1: a closing quotation mark was expected"},
        {"root = a\nroot = b\n", ":2: root: given twice"},
        {"store = oracle", "store: \"oracle\"; accepted: sqlite, postgresql://"},
        {"route \"*\" { hosts = h.test; user = u; password_file = \"/p\"; tls = must }", "*: tls = verify or fingerprint goes with user"},
        {"route \"*\" { user = u; password_file = \"/p\" }", "*: user goes with hosts"},
        {"route \"*\" { hosts = h.test; user = u }", "*: password_file, or oauth, was expected with user"},
        {"route \"*\" { hosts = h.test; password_file = \"/p\" }", "*: user = \"name\" was expected with password_file"},
        {"route \"*\" { hosts = h.test; user = u; password_file = p }", "*: password_file: /absolute/file or credential:NAME was expected"},
        {"route \"*\" { hosts = h.test; user = u; password_file = \"/p\"; auth_mechanisms = NTLM }", "*: auth_mechanisms: SCRAM-SHA-256"},
        {"route \"*\" { hosts = h.test; user = u; oauth = m365; oauth_token_file = t }", "*: oauth: oauth_client_id was expected"},
        {"route \"*\" { hosts = h.test; user = u; oauth = other; oauth_client_id = i; oauth_token_file = t }", "oauth_token_url and oauth_scope"},
        {"route \"*\" { hosts = h.test; tls = never; implicit_tls = true }", "contradict"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buf report = {0};
        assert_null(load(cases[i].text, &report));
        assert_non_null(strstr(buf_text(&report), cases[i].said));
        buf_finish(&report);
    }
}

static void all_mistakes_are_reported_at_once(void **state)
{
    (void)state;
    struct buf report = {0};
    assert_null(load("a = 1\nb = 2\nc = 3\n", &report));
    size_t lines = 0;
    for (size_t i = 0; i < report.size; i++)
        lines += report.data[i] == '\n';
    assert_int_equal(lines, 3);
    buf_finish(&report);
}

static void settings_win_over_environment_over_file(void **state)
{
    (void)state;
    struct buf report = {0};
    const char *settings[] = {"delivery.port=2527", "dns.servers=127.0.0.1:53"};
    assert_int_equal(setenv("MAILROOT_DELIVERY_PORT", "2526", 1), 0);
    assert_int_equal(setenv("MAILROOT_QUEUE_EXPIRE", "3d", 1), 0);
    struct config *config = config_load("/dev/null", settings, 0, &report);
    assert_null(config); /* no plain file */
    buf_clear(&report);
    config = config_load(NULL, settings, 2, &report);
    assert_non_null(config);
    assert_int_equal(config->delivery.port, 2527);
    assert_int_equal(config->queue.schedule.expire_ms, 3 * 86400000LL);
    config_destroy(&config);
    assert_int_equal(unsetenv("MAILROOT_DELIVERY_PORT") | unsetenv("MAILROOT_QUEUE_EXPIRE"), 0);
    buf_finish(&report);
}

static void file_that_everybody_may_write_is_refused(void **state)
{
    (void)state;
    char path[] = "/tmp/mailroot-config-XXXXXX";
    struct buf report = {0};
    int fd = mkstemp(path);
    assert_int_equal(fchmod(fd, 0666), 0);
    close(fd);
    assert_null(config_load(path, NULL, 0, &report));
    assert_non_null(strstr(buf_text(&report), "writable by everybody"));
    (void)unlink(path);
    buf_finish(&report);
}

static void the_closest_route_counts_and_inherits_the_schedule(void **state)
{
    static const struct { const char *domain, *pattern; } rows[] = {
        {"own.test", "own.test"}, {"a.own.test", "*.own.test"}, {"b.a.own.test", "*.a.own.test"}, {"x.test", "*"},
        {"xown.test", "*"}, {"OWN.test", "own.test"}, {"xn--bcher-kva.test", "xn--bcher-kva.test"},
    };
    struct buf report = {0};
    (void)state;
    struct config *config = load("{\"queue\": {\"expire\": \"3d\"}, \"route\": {\"*\": {\"hosts\": [\"smart.test:587\"]},"
                                 " \"own.test\": {\"port\": 26}, \"*.own.test\": {\"rate\": \"10/1s\"},"
                                 " \"*.a.own.test\": {\"retry_first\": \"1m\"}, \"b\xC3\xBC""cher.test\": {\"tls\": \"must\"}}}", &report);
    assert_string_equal(buf_text(&report), "");
    assert_non_null(config);
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_string_equal(config_route_find(config, slice_of(rows[i].domain))->pattern, rows[i].pattern);
    const struct config_route *route = config_route_find(config, SLICE("b.a.own.test"));
    assert_true(route->has_schedule);
    assert_int_equal(route->schedule.retry_ms[0], 60000);
    assert_int_equal(route->schedule.expire_ms, 3 * 86400000LL);
    assert_int_equal(config_route_find(config, SLICE("a.own.test"))->rates.items[0].count, 10);
    assert_false(config_route_find(config, SLICE("a.own.test"))->has_schedule);
    config_destroy(&config);
    buf_finish(&report);
}

static void unknown_variables_are_refused(void **state)
{
    struct buf report = {0};
    (void)state;
    assert_int_equal(setenv("MAILROOT_DNS_SEVERS", "127.0.0.1", 1), 0);
    assert_null(load("", &report));
    assert_non_null(strstr(buf_text(&report), "MAILROOT_DNS_SEVERS"));
    unsetenv("MAILROOT_DNS_SEVERS");
    buf_finish(&report);
}

static void names_are_compared_by_edits(void **state)
{
    (void)state;
    assert_int_equal(value_distance("queue", "queue"), 0);
    assert_int_equal(value_distance("qeue", "queue"), 1);
    assert_int_equal(value_distance("kitten", "sitting"), 3);
    assert_int_equal(value_distance("", "abc"), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_have_units_and_sections),
        cmocka_unit_test(every_mistake_is_said_with_its_line),
        cmocka_unit_test(all_mistakes_are_reported_at_once),
        cmocka_unit_test(settings_win_over_environment_over_file),
        cmocka_unit_test(file_that_everybody_may_write_is_refused),
        cmocka_unit_test(the_closest_route_counts_and_inherits_the_schedule),
        cmocka_unit_test(unknown_variables_are_refused),
        cmocka_unit_test(names_are_compared_by_edits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
