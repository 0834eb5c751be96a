#include "web/webbot.h"

#include "web/results.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static void check_text(struct slice got, const char *wanted)
{
    char *text = slice_copy(got);
    assert_string_equal(text ? text : "(absent)", wanted);
    free(text);
}

/* P2: one row a way of writing the same bot. */
static void test_P2_bots_are_read_however_they_are_written(void **state)
{
    static const char *const pages[] = {
        "<form><!--webbot bot=\"SaveResults\" startspan S-Email-Address=\"a@b\" S-Builtin-Fields --><input name=x></form>",
        "<form><!--WEBBOT BOT=SaveResults s-email-address=a@b startspan --><INPUT NAME=x></FORM>",
        "<form><!--webbot\n  bot=\"SaveResults\"\n  S-Email-Address =\n \"a@b\"\n junk words --><input name = 'x'></form>",
        "<form><!-- webbot bot='SaveResults' S-Email-Address='a@b' S-Email-Address='c@d' --><input name=x>",
        "<form><p><!--webbot bot=\"SaveResults\" S-Email-Address=\"&#97;@b\" --><input name=x><form><input name=y></form>",
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(pages); i++) {
        struct arena arena = {0};
        struct page page;
        page_read(&arena, slice_of(pages[i]), &page);
        const struct page_form *form = page_form_find(&page, SLICE_NONE);
        assert_non_null(form);
        check_text(page_setting(&arena, &page, form, SLICE("s-EMAIL-address"), 0), "a@b");
        assert_int_equal(form->field_count, 1);
        check_text(form->fields[0].name, "x");
        arena_finish(&arena);
    }
}

static void test_P3_a_validation_bot_guards_the_next_field_only(void **state)
{
    struct arena arena = {0};
    struct page page;
    (void)state;
    page_read(&arena, SLICE("<form><!--webbot bot=SaveResults --><!--webbot bot=\"Validation\" i-maximum-length=\"4\" "
                            "s-validation-constraint=\"Greater than\" s-validation-value=\"1\" s-validation-constraint=\"Less than\" "
                            "s-validation-value=\"3\" --><br><select name=a><option value=''>-<option value=1></select><input name=b>"),
              &page);
    const struct page_form *form = page_form_find(&page, SLICE_NONE);
    assert_int_equal(form->field_count, 2);
    assert_non_null(form->fields[0].check);
    assert_null(form->fields[1].check);
    assert_int_equal(form->fields[0].check->size_max, 4);
    assert_int_equal(form->fields[0].check->constraint_count, 2);
    check_text(form->fields[0].check->constraints[1].value, "3");
    check_text(form->fields[0].first, "");
    arena_finish(&arena);
}

static void test_lists_are_parted_by_blanks_or_commas(void **state)
{
    struct slice list = SLICE("  Date,Time\n REMOTE_NAME , x"), word;
    static const char *const wanted[] = {"Date", "Time", "REMOTE_NAME", "x"};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(wanted); i++) {
        assert_true(page_list_next(&list, &word));
        check_text(word, wanted[i]);
    }
    assert_false(page_list_next(&list, &word));
}

static struct slice value_of(void *arg, struct slice name)
{
    (void)arg;
    return slice_equals(name, SLICE("n")) ? SLICE("<b>\xE2\x82\xAC\xE4\xB8\xAD") : SLICE("");
}

/* P6: what is put, what is taken out. */
static void test_P6_rendering(void **state)
{
    static const struct { const char *page, *wanted; } rows[] = {
        {"<FORM action=x METHOD=get><!--webbot bot=SaveResults S-Email-Address=a@b -->",
         "<form method=\"POST\" action=\"/p\" action=x METHOD=get><input type=\"hidden\" name=\"VTI-GROUP\" value=\"0\">"},
        {"<form action=x><input>", "<form action=x><input>"},
        {"a<!--webbot bot=ConfirmationField S-Field=n startspan -->[n]<!--webbot bot=ConfirmationField endspan -->b",
         "a&lt;b&gt;\x80&#20013;b"},
        {"a<!--webbot bot=ConfirmationField S-Field=n -->b<!--webbot bot=ConfirmationField S-Field=m -->c",
         "a&lt;b&gt;\x80&#20013;bc"},
        {"<script>'<form>'</script><!-- no bot --><!--webbot bot=Other -->", "<script>'<form>'</script><!-- no bot --><!--webbot bot=Other -->"},
        {"<", "<"}, {"<!--", "<!--"}, {"<form", "<form"}, {"a<!--webbot bot=ConfirmationField S-Field=n", "a&lt;b&gt;\x80&#20013;"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct arena arena = {0};
        struct page page;
        struct buf out = {0};
        struct page_rendering with = {SLICE("/p"), SLICE(""), value_of, NULL};
        page_read(&arena, slice_of(rows[i].page), &page);
        page_render(&arena, &page, &with, &out);
        assert_string_equal(buf_text(&out), rows[i].wanted);
        buf_finish(&out);
        arena_finish(&arena);
    }
}

static void test_results_files_grow_where_they_should(void **state)
{
    static const struct { const char *old; bool is_html, is_newest_first; const char *wanted; } rows[] = {
        {"", false, false, "LR"}, {"LA", false, false, "LAR"}, {"LA", false, true, "LRA"}, {"A", false, true, "RA"},
        {"<x><!--webbot bot=\"FormInsertHere\" --></x>", true, false, "<x>R<!--webbot bot=\"FormInsertHere\" --></x>"},
        {"<x><!--webbot bot=\"FormInsertHere\" -->A</x>", true, true, "<x><!--webbot bot=\"FormInsertHere\" -->\r\nRA</x>"},
        {"<x></x>", true, false, "<x></x>R"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct buf out = {0};
        struct results_file file = {slice_of(rows[i].old), SLICE("R"), rows[i].is_html ? SLICE("") : SLICE("L"), SLICE("t"),
                                    rows[i].is_html, rows[i].is_newest_first};
        results_merge(&file, &out);
        assert_string_equal(buf_text(&out), rows[i].wanted);
        buf_finish(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_P2_bots_are_read_however_they_are_written),
        cmocka_unit_test(test_P3_a_validation_bot_guards_the_next_field_only),
        cmocka_unit_test(test_lists_are_parted_by_blanks_or_commas),
        cmocka_unit_test(test_P6_rendering),
        cmocka_unit_test(test_results_files_grow_where_they_should),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
