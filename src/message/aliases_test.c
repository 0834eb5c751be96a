/* The rules of message/aliases.h, a table of files. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/buf.h"
#include "message/aliases.h"

static bool is_local(void *arg, struct slice domain)
{
    (void)arg;
    return slice_equals(domain, SLICE("here.test")) || slice_equals(domain, SLICE("alias.test"));
}

static void on_fault(void *arg, size_t line, const char *text)
{
    buf_printf(arg, "%zu: %s\n", line, text);
}

struct row { const char *file, *address, *expected; }; /* NULL: no alias */

static const struct row expansions[] = {
    {"root: admin", "root@here.test", "admin@here.test"},
    {"root: admin", "ROOT@alias.test", "admin@alias.test"},
    {"Root : admin@far.test", "root@here.test", "admin@far.test"},
    {"# comment\n\nroot: a,\n  b ,\n\tc@x.test\nother: d\n", "root@here.test", "a@here.test b@here.test c@x.test"},
    {"a: b\nb: c, d\nc: e@x.test", "a@here.test", "e@x.test d@here.test"},
    {"a: b, c\nb: d\nc: d", "a@here.test", "d@here.test"},
    {"a: b@here.test\nb: c", "a@here.test", "c@here.test"},
    {"a: b@far.test\nb: c", "a@here.test", "b@far.test"},
    {"a: \\a, b@x.test", "a@here.test", "a@here.test b@x.test"},
    {"a: \"with blank\"@x.test, \"com,ma\"@x.test", "a@here.test", "\"with blank\"@x.test \"com,ma\"@x.test"},
    {"\"with blank\": b", "\"with blank\"@here.test", "b@here.test"},
    {"a: b\r\nc: d\r\n", "a@here.test", "b@here.test"},
    {"a: b", "c@here.test", NULL},
    {"", "c@here.test", NULL},
};

static void an_alias_becomes_what_it_stands_for(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(expansions); i++) {
        const struct row *row = &expansions[i];
        struct arena arena = {0};
        struct buf faults = {0}, got = {0};
        struct address address, *found;
        size_t count;
        struct error error;
        struct aliases *aliases = aliases_parse(slice_of(row->file), is_local, NULL, on_fault, &faults);
        assert_string_equal(buf_text(&faults), "");
        assert_non_null(aliases);
        assert_true(address_parse(&arena, slice_of(row->address), &address, &error));
        bool is_alias = aliases_expand(&arena, aliases, &address, &found, &count);
        assert_int_equal(is_alias, row->expected != NULL);
        for (size_t k = 0; is_alias && k < count; k++)
            buf_printf(&got, "%s%.*s", k ? " " : "", SLICE_FMT(found[k].text));
        if (row->expected)
            assert_string_equal(buf_text(&got), row->expected);
        aliases_destroy(&aliases);
        arena_finish(&arena);
        buf_finish(&faults);
        buf_finish(&got);
    }
}

static const struct { const char *file, *expected; } mistakes[] = {
    {"a: b\nb: c\nc: a", "3: a loop: c leads back to a"},
    {"a: a", "1: a loop: a leads back to a; \\a would be the mailbox itself"},
    {"a: b@here.test\nb: a@alias.test", "2: a loop"},
    {"\na: |/bin/vacation", "2: programs are never run"},
    {"a: \"|/bin/vacation -x\"", "1: programs are never run"},
    {"a: b,\n  /var/mail/a", "2: files are not written"},
    {"a: :include:/etc/list", "1: \":include:\" and its like are not read"},
    {"a: b\nA: c", "2: this name is there twice"},
    {"a:", "1: an alias without an address"},
    {"no colon here", "1: \"name: address, …\" was expected"},
    {"a@here.test: b", "1: \"name: address, …\" was expected"},
    {"  b", "1: a line that begins with a blank goes on"},
    {"a: b c", "1: \"b c\": "},
    {"a: <>", "1: "},
};

static void a_mistake_is_said_with_its_line(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(mistakes); i++) {
        struct buf faults = {0};
        struct aliases *aliases = aliases_parse(slice_of(mistakes[i].file), is_local, NULL, on_fault, &faults);
        assert_null(aliases);
        if (!strstr(buf_text(&faults), mistakes[i].expected))
            fail_msg("\"%s\" gave \"%s\"", mistakes[i].file, buf_text(&faults));
        buf_finish(&faults);
    }
}

/* Each of 2,000 levels names the next one twice: 2^2000 ways, walked in a moment, without deep recursion. */
static void a_lattice_of_aliases_costs_its_size(void **state)
{
    struct arena arena = {0};
    struct buf file = {0}, faults = {0};
    struct address address, *found;
    size_t count;
    struct error error;
    (void)state;
    for (int i = 0; i < 2000; i++)
        buf_printf(&file, "a%d: a%d, b%d\nb%d: a%d, b%d\n", i, i + 1, i + 1, i, i + 1, i + 1);
    struct aliases *aliases = aliases_parse(buf_slice(&file), is_local, NULL, on_fault, &faults);
    assert_non_null(aliases);
    assert_true(address_parse(&arena, SLICE("a0@here.test"), &address, &error));
    assert_true(aliases_expand(&arena, aliases, &address, &found, &count));
    assert_int_equal(count, 2);
    aliases_destroy(&aliases);
    arena_finish(&arena);
    buf_finish(&file);
    buf_finish(&faults);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_alias_becomes_what_it_stands_for),
        cmocka_unit_test(a_mistake_is_said_with_its_line),
        cmocka_unit_test(a_lattice_of_aliases_costs_its_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
