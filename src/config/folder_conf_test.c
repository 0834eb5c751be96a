/* The rules of config/folder_conf.h: patterns and mistakes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "config/folder_conf.h"

#include <stdio.h>

static struct folder_conf *parse(const char *text, struct buf *report)
{
    return folder_conf_parse("shop", "/Pickup/shop/folder.conf", slice_of(text), report);
}

static bool allows(const char *patterns, const char *text)
{
    struct arena arena = {0};
    struct buf report = {0}, conf_text = {0};
    struct address address = {.text = SLICE("")};
    struct error error = {{0}};
    buf_printf(&conf_text, "senders = [%s]\n", patterns);
    struct folder_conf *conf = parse(buf_text(&conf_text), &report);
    if (!conf)
        fail_msg("%s", buf_text(&report));
    if (text[0] && !address_parse(&arena, slice_of(text), &address, &error))
        fail_msg("%s: %s", text, error.text);
    bool is_allowed = folder_conf_allows(&conf->senders, &address);
    folder_conf_destroy(&conf);
    buf_finish(&conf_text);
    buf_finish(&report);
    arena_finish(&arena);
    return is_allowed;
}

static void a_pattern_covers_what_it_says_and_no_more(void **state)
{
    (void)state;
    static const struct { const char *patterns, *address; bool is_allowed; } rows[] = {
        {"\"a@b.test\"", "a@b.test", true},         {"\"a@b.test\"", "A@B.TEST", true},
        {"\"a@b.test\"", "xa@b.test", false},       {"\"a@b.test\"", "a@b.test.evil", false},
        {"\"*@b.test\"", "x.y@b.test", true},       {"\"@b.test\"", "x@b.test", true},
        {"\"*@b.test\"", "x@c.b.test", false},      {"\"*@*.b.test\"", "x@c.b.test", true},
        {"\"*@*.b.test\"", "x@b.test", false},      {"\"*@*.b.test\"", "x@evilb.test", false},
        {"\"news-*@b.test\"", "news-7@b.test", true}, {"\"news-*@b.test\"", "news@b.test", false},
        {"\"*a*b*@b.test\"", "xxaxxbxx@b.test", true}, {"\"*a*b@b.test\"", "aab@b.test", true},
        {"\"*@b.test\"", "\"x@c.test\"@b.test", true}, {"\"*@b.test\"", "\"x@b.test\"@c.test", false},
        {"\"*\"", "x@c.test", true},                {"\"*\"", "", true},
        {"\"*@*\"", "x@c.test", true},              {"\"*@*\"", "", false},
        {"\"<>\"", "", true},                       {"\"<>\"", "x@c.test", false},
        {"\"a@b.test\", \"*@c.test\"", "x@c.test", true},
        {"\"*@b\xC3\xBC" "cher.test\"", "x@xn--bcher-kva.test", true},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (allows(rows[i].patterns, rows[i].address) != rows[i].is_allowed)
            fail_msg("%s, <%s>: %d was expected", rows[i].patterns, rows[i].address, rows[i].is_allowed);
}

static void every_mistake_is_said_with_its_line(void **state)
{
    (void)state;
    struct buf report = {0};
    assert_null(parse("hold = true\nsendrs = \"a@b.test\"\nrate = soon\n\nroute = \"host:99999\"\nwindow = \"8-9\"\n"
                      "archive = \"nobody\"\nquota = \"5\"\nowner \"0\" { rate = 1 }\n", &report));
    static const char *const lines[] = {":2: sendrs: unknown key; did you mean senders?", ":3: rate: ", ":5: route: ", ":6: window: ",
                                        ":7: archive: ", ":8: quota: ", ":9: owner.0.rate: unknown key"};
    for (size_t i = 0; i < COUNT_OF(lines); i++)
        if (!strstr(buf_text(&report), lines[i]))
            fail_msg("%s is not in\n%s", lines[i], buf_text(&report));
    buf_finish(&report);
}

static void a_section_without_settings_counts(void **state)
{
    (void)state;
    struct buf report = {0};
    struct folder_conf *conf = parse("owner \"0\" { }\ngroup \"7\" { quota = \"3/1h\" }\n", &report);
    assert_non_null(conf);
    assert_int_equal(conf->owner_count, 2);
    assert_int_equal(conf->owners[0].number, 0);
    assert_true(conf->owners[1].is_group && conf->owners[1].number == 7 && conf->owners[1].quota.count == 3);
    assert_int_equal(conf->owners[1].quota.per_ms, 3600000);
    folder_conf_destroy(&conf);
    buf_finish(&report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pattern_covers_what_it_says_and_no_more),
        cmocka_unit_test(every_mistake_is_said_with_its_line),
        cmocka_unit_test(a_section_without_settings_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
