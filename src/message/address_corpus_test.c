/* Addresses that others collected (tests/corpora/addresses/isemail), each with their verdict: what may stand in an SMTP path stays
 * what it is, what is wrapped in comments and blanks is unwrapped or refused, and to what is wrong nothing is sent. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/check.h"
#include "message/address.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

struct row { struct slice json, category, diagnosis, path_ok; };

/* Faults that a reader of headers forgives, for what they can mean is one thing only. */
static const char *const forgiven[] = {
    "ISEMAIL_ERR_NODOMAIN",        /* a bare local name: the default domain is added */
    "ISEMAIL_ERR_DOT_END",         /* example.org. is example.org */
    "ISEMAIL_ERR_CR_NO_LF",        /* line ends around an address or in a comment, never in it */
    "ISEMAIL_ERR_FWS_CRLF_END",
    "ISEMAIL_ERR_FWS_CRLF_X2",
    "ISEMAIL_ERR_EXPECTING_ATEXT", /* the same, as LF */
    "ISEMAIL_ERR_EXPECTING_CTEXT",
    "ISEMAIL_ERR_EXPECTING_QPAIR", /* a quoted UTF-8 octet: RFC 6531 */
    "ISEMAIL_RFC5322_LOCAL_TOOLONG", /* 64 octets once a needless backslash is gone */
};

static bool is_forgiven(struct slice diagnosis)
{
    for (size_t i = 0; i < COUNT_OF(forgiven); i++)
        if (slice_equals(diagnosis, slice_of(forgiven[i])))
            return true;
    return false;
}

static void is_clean(struct slice text)
{
    bool is_quoted = text.size && text.data[0] == '"';
    for (size_t i = 0; i < text.size; i++)
        assert_true((unsigned char)text.data[i] > 0x20 || (is_quoted && text.data[i] == ' '));
    assert_int_equal(slice_find_byte(text, '('), -1);
}

static void check_row(const struct row *row)
{
    struct arena arena = {0};
    struct address_list list;
    struct error error;
    json_t *text = json_loadb(row->json.data, row->json.size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    assert_non_null(text);
    struct slice value = slice_make(json_string_value(text), json_string_length(text));
    assert_true(address_list_parse(&arena, value, 100, &list, &error));
    bool is_wrong = slice_starts(row->category, SLICE("ISEMAIL_ERR")) || slice_starts(row->category, SLICE("ISEMAIL_RFC5322"));
    if (slice_equals(row->path_ok, SLICE("1"))) {
        assert_int_equal(list.count, 1);
        assert_int_equal(list.fault_count, 0);
    } else if (is_wrong && !is_forgiven(row->diagnosis) && list.count) {
        fail_msg("%.*s: %.*s was taken as <%.*s>", SLICE_FMT(row->json), SLICE_FMT(row->diagnosis),
                 SLICE_FMT(list.items[0].text));
    }
    for (size_t i = 0; i < list.count; i++)
        is_clean(list.items[i].text);
    json_decref(text);
    arena_finish(&arena);
}

static void the_collection_s_verdicts_hold(void **state)
{
    char path[4096], line[8192];
    size_t count = 0;
    (void)state;
    (void)snprintf(path, sizeof path, "%s/addresses/isemail/tests.tsv", getenv("CORPUS"));
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(line, sizeof line, file)); /* the columns' names */
    while (fgets(line, sizeof line, file)) {
        struct slice rest = slice_trim(slice_of(line));
        (void)slice_cut(&rest, '\t'); /* number */
        struct row row = {.json = slice_cut(&rest, '\t')};
        row.category = slice_cut(&rest, '\t');
        row.diagnosis = slice_cut(&rest, '\t');
        row.path_ok = rest;
        check_row(&row);
        count++;
    }
    fclose(file);
    assert_int_equal(count, 164);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_collection_s_verdicts_hold)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
