#include "web/charset.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct { const char *charset; const char *text; struct slice page; } rows[] = {
    {"utf8", "\xd7\xa9 \xe2\x82\xac", SLICE("\xd7\xa9 \xe2\x82\xac")},
    {"latin1", "\xc3\xbc \xe2\x82\xac \xd7\xa9", SLICE("\xfc \x80 &#1513;")},
    {"no such", "\xc3\xbc", SLICE("\xfc")},
    {"iso-8859-8-i", "\xd7\xa9\xd7\x9c \xe2\x82\xac", SLICE("\xf9\xec &#8364;")}, /* a name of pages, none of iconv's */
    {"X-GBK", "\xe4\xb8\xad", SLICE("\xd6\xd0")},
    {"big5", "\xe4\xb8\xad", SLICE("\xa4\xa4")},
    /* The number stands in the charset's ASCII state, and so does the end. */
    {"iso-2022-jp", "\xe6\x97\xa5\xf0\x9f\x98\x80\xe6\x9c\xac", SLICE("\x1b$BF|\x1b(B&#128512;\x1b$BK\\\x1b(B")},
};

static void test_pages_are_written_in_their_own_charset(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct buf out = {0};
        charset_from_utf8(slice_of(rows[i].charset), slice_of(rows[i].text), &out);
        if (!slice_equals(buf_slice(&out), rows[i].page))
            fail_msg("%s: %s", rows[i].charset, buf_text(&out));
        buf_finish(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pages_are_written_in_their_own_charset)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
