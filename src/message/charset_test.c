#include "message/charset.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct { const char *charset; struct slice bytes; const char *text; } rows[] = { /* made by Python's codecs */
    {"iso-8859-2", SLICE("P\xf8\xedli\xb9 \xbelu\xbbou\xe8k\xfd"), "P\xc5\x99\xc3\xadli\xc5\xa1 \xc5\xbelu\xc5\xa5ou\xc4\x8dk\xc3\xbd"},
    {"ISO-8859-5", SLICE("\xbf\xe0\xd8\xd2\xd5\xe2"), "\xd0\x9f\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82"},
    {"iso-8859-7", SLICE("\xc3\xe5\xe9\xdc"), "\xce\x93\xce\xb5\xce\xb9\xce\xac"},
    {"iso-8859-8-i", SLICE("\xf9\xec\xe5\xed"), "\xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d"},
    {"iso-8859-9", SLICE("G\xfcnayd\xfdn"), "G\xc3\xbcnayd\xc4\xb1n"},
    {"iso-8859-15", SLICE("5 \xa4 \xbcuvre"), "5 \xe2\x82\xac \xc5\x92uvre"},
    {"iso-8859-16", SLICE("\xaatiri"), "\xc8\x98tiri"},
    {"windows-1250", SLICE("Za\xbf\xf3\xb3\xe6"), "Za\xc5\xbc\xc3\xb3\xc5\x82\xc4\x87"},
    {"cp1251", SLICE("\xcf\xf0\xe8\xe2\xe5\xf2"), "\xd0\x9f\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82"},
    {"Windows-1253", SLICE("\xc3\xe5\xe9\xdc"), "\xce\x93\xce\xb5\xce\xb9\xce\xac"},
    {"windows-1255", SLICE("\xf9\xec\xe5\xed"), "\xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d"},
    {"windows-1256", SLICE("\xe3\xd1\xcd\xc8\xc7"), "\xd9\x85\xd8\xb1\xd8\xad\xd8\xa8\xd8\xa7"},
    {"windows-1257", SLICE("Labdien \xec\xe7"), "Labdien \xc4\xa3\xc4\x93"},
    {"windows-1258", SLICE("Ti\x3fng"), "Ti\x3fng"},
    {"windows-874", SLICE("\xca\xc7\xd1\xca\xb4\xd5"), "\xe0\xb8\xaa\xe0\xb8\xa7\xe0\xb8\xb1\xe0\xb8\xaa\xe0\xb8\x94\xe0\xb8\xb5"},
    {"tis-620", SLICE("\xca\xc7\xd1\xca\xb4\xd5"), "\xe0\xb8\xaa\xe0\xb8\xa7\xe0\xb8\xb1\xe0\xb8\xaa\xe0\xb8\x94\xe0\xb8\xb5"},
    {"KOI8-R", SLICE("\xf0\xd2\xc9\xd7\xc5\xd4"), "\xd0\x9f\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82"},
    {"koi8-u", SLICE("\xb7\xd6\xc1\xcb"), "\xd0\x87\xd0\xb6\xd0\xb0\xd0\xba"},
    {"ibm866", SLICE("\x8f\xe0\xa8\xa2\xa5\xe2"), "\xd0\x9f\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82"},
    {"cp850", SLICE("Gr\x81\xe1\x65"), "Gr\xc3\xbc\xc3\x9f\x65"},
    {"cp437", SLICE("Gr\x81\xe1\x65"), "Gr\xc3\xbc\xc3\x9f\x65"},
    {"macintosh", SLICE("Gr\x9f\xa7\x65"), "Gr\xc3\xbc\xc3\x9f\x65"},
    {"gb2312", SLICE("\xd6\xd0\xce\xc4"), "\xe4\xb8\xad\xe6\x96\x87"},
    {"gbk", SLICE("\xe9\x46"), "\xe9\x95\x95"},
    {"gb18030", SLICE("\xd6\xd0\xce\xc4\x94\x39\xfc\x36"), "\xe4\xb8\xad\xe6\x96\x87\xf0\x9f\x98\x80"},
    {"big5", SLICE("\xa4\xa4\xa4\xe5"), "\xe4\xb8\xad\xe6\x96\x87"},
    {"euc-jp", SLICE("\xc6\xfc\xcb\xdc\xb8\xec"), "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e"},
    {"iso-2022-jp", SLICE("\x1b$BF|K\x5c\x38l\x1b(B and \x1b$B%+%J\x1b(B"), "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e and \xe3\x82\xab\xe3\x83\x8a"},
    {"Shift_JIS", SLICE("\x87@\x93\xfa\x96{\x8c\xea"), "\xe2\x91\xa0\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e"},
    {"euc-kr", SLICE("\xc7\xd1\xb1\xb9\xbe\xee"), "\xed\x95\x9c\xea\xb5\xad\xec\x96\xb4"},
    {"ks_c_5601-1987", SLICE("\x8c\x63"), "\xeb\x98\xa0"},
    {"iso-2022-kr", SLICE("\x1b$)C\x0eGQ19>n\x0f"), "\xed\x95\x9c\xea\xb5\xad\xec\x96\xb4"},
    {"utf-16le", SLICE("G\x00r\x00\xfc\x00\xdf\x00\x65\x00 \x00=\xd8\x00\xde"), "Gr\xc3\xbc\xc3\x9f\x65 \xf0\x9f\x98\x80"},
    {"utf-16be", SLICE("\x00G\x00r\x00\xfc\x00\xdf\x00\x65"), "Gr\xc3\xbc\xc3\x9f\x65"},
    {"us-ascii", SLICE("plain"), "plain"},
    {"ISO-8859-1", SLICE("\x93\xe9\x94\x80"), "\xe2\x80\x9c\xc3\xa9\xe2\x80\x9d\xe2\x82\xac"},
    {"utf-8", SLICE("Gr\xc3\xbc\xc3\x9f\x65 \xf0\x9f\x98\x80"), "Gr\xc3\xbc\xc3\x9f\x65 \xf0\x9f\x98\x80"},
    {"x-nonsense", SLICE("Gr\xc3\xbc\xc3\x9f\x65"), "Gr\xc3\xbc\xc3\x9f\x65"},
};

static void every_charset_of_the_table_comes_out_as_utf8(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct buf out = {0};
        charset_decode(slice_of(rows[i].charset), rows[i].bytes, &out);
        if (strcmp(buf_text(&out), rows[i].text) != 0)
            fail_msg("%s: %s", rows[i].charset, buf_text(&out));
        buf_finish(&out);
    }
}

static void ill_formed_octets_become_replacements_and_nothing_is_cut(void **state)
{
    static const struct { const char *charset; struct slice bytes; const char *text; } faulty[] = {
        {"utf-8", SLICE("a\xff" "b\xc3"), "a\xEF\xBF\xBD" "b\xEF\xBF\xBD"},
        {"big5", SLICE("a\xff" "b"), "a\xEF\xBF\xBD" "b"},
        {"shift_jis", SLICE("a\x81"), "a\xEF\xBF\xBD"},
        {"utf-16le", SLICE("a\0b"), "a\xEF\xBF\xBD"},
        {"iso-2022-jp", SLICE("\x1b$B"), ""},
        {"euc-jp", SLICE(""), ""},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(faulty); i++) {
        struct buf out = {0};
        charset_decode(slice_of(faulty[i].charset), faulty[i].bytes, &out);
        if (strcmp(buf_text(&out), faulty[i].text) != 0)
            fail_msg("%s: %s", faulty[i].charset, buf_text(&out));
        buf_finish(&out);
    }
}

static void S3_names_outside_the_table_never_reach_the_converter(void **state)
{
    static const char *const names[] = {"ISO-2022-CN-EXT", "utf-8//TRANSLIT", "../../x", "UTF-7", "IBM1364", "TSCII", ""};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(names); i++)
        assert_false(charset_iconv_name(slice_of(names[i])));
    assert_true(charset_iconv_name(SLICE("Big5")) && charset_iconv_name(SLICE("UTF-8")) && charset_iconv_name(SLICE("latin1")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_charset_of_the_table_comes_out_as_utf8),
        cmocka_unit_test(ill_formed_octets_become_replacements_and_nothing_is_cut),
        cmocka_unit_test(S3_names_outside_the_table_never_reach_the_converter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
