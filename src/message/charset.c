#include "message/charset.h"

#include "base/utf8.h"

static const struct slice replacement = {"\xEF\xBF\xBD", 3};

static const struct { const char *label, *iconv_name; unsigned page; } table[] = {
    {"iso-8859-2", "ISO-8859-2", 28592}, {"latin2", "ISO-8859-2", 28592}, {"iso-8859-3", "ISO-8859-3", 28593},
    {"iso-8859-4", "ISO-8859-4", 28594}, {"iso-8859-5", "ISO-8859-5", 28595}, {"iso-8859-6", "ISO-8859-6", 28596},
    {"iso-8859-7", "ISO-8859-7", 28597}, {"iso-8859-8", "ISO-8859-8", 28598}, {"iso-8859-8-i", "ISO-8859-8", 28598},
    {"iso-8859-9", "CP1254", 1254}, {"latin5", "CP1254", 1254}, {"iso-8859-10", "ISO-8859-10", 28600},
    {"iso-8859-13", "ISO-8859-13", 28603}, {"iso-8859-14", "ISO-8859-14", 28604}, {"iso-8859-15", "ISO-8859-15", 28605},
    {"latin-9", "ISO-8859-15", 28605}, {"iso-8859-16", "ISO-8859-16", 28606}, {"windows-1250", "CP1250", 1250},
    {"cp1250", "CP1250", 1250}, {"windows-1251", "CP1251", 1251}, {"cp1251", "CP1251", 1251}, {"windows-1253", "CP1253", 1253},
    {"cp1253", "CP1253", 1253}, {"windows-1254", "CP1254", 1254}, {"cp1254", "CP1254", 1254}, {"windows-1255", "CP1255", 1255},
    {"cp1255", "CP1255", 1255}, {"windows-1256", "CP1256", 1256}, {"cp1256", "CP1256", 1256}, {"windows-1257", "CP1257", 1257},
    {"cp1257", "CP1257", 1257}, {"windows-1258", "CP1258", 1258}, {"cp1258", "CP1258", 1258}, {"windows-874", "CP874", 874},
    {"tis-620", "CP874", 874}, {"iso-8859-11", "CP874", 874}, {"koi8-r", "KOI8-R", 20866}, {"koi8-u", "KOI8-U", 21866},
    {"ibm866", "CP866", 866}, {"cp866", "CP866", 866}, {"ibm850", "CP850", 850}, {"cp850", "CP850", 850},
    {"ibm437", "CP437", 437}, {"cp437", "CP437", 437}, {"ibm852", "CP852", 852}, {"cp852", "CP852", 852},
    {"macintosh", "MACINTOSH", 10000}, {"gb2312", "GBK", 936}, {"gb_2312-80", "GBK", 936}, {"gbk", "GBK", 936},
    {"x-gbk", "GBK", 936}, {"cp936", "GBK", 936}, {"gb18030", "GB18030", 54936}, {"big5", "BIG5-HKSCS", 950},
    {"big5-hkscs", "BIG5-HKSCS", 950}, {"cn-big5", "BIG5-HKSCS", 950}, {"euc-jp", "EUC-JP", 20932},
    {"iso-2022-jp", "ISO-2022-JP", 50220}, {"shift_jis", "CP932", 932}, {"shift-jis", "CP932", 932}, {"x-sjis", "CP932", 932},
    {"sjis", "CP932", 932}, {"windows-31j", "CP932", 932}, {"cp932", "CP932", 932}, {"euc-kr", "CP949", 949},
    {"ks_c_5601-1987", "CP949", 949}, {"cp949", "CP949", 949}, {"iso-2022-kr", "ISO-2022-KR", 50225},
    {"utf-16", "UTF-16LE", 1200}, {"utf-16le", "UTF-16LE", 1200}, {"utf-16be", "UTF-16BE", 1201},
};

static bool is_windows_1252(struct slice charset)
{
    static const char *const names[] = {"iso-8859-1", "iso8859-1", "latin1", "us-ascii", "ascii", "windows-1252", "cp1252"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (slice_equals_nocase(charset, slice_of(names[i])))
            return true;
    return false;
}

static bool is_utf8(struct slice charset)
{
    return slice_equals_nocase(charset, SLICE("utf-8")) || slice_equals_nocase(charset, SLICE("utf8"));
}

const char *charset_iconv_name(struct slice charset)
{
    for (size_t i = 0; i < COUNT_OF(table); i++)
        if (slice_equals_nocase(charset, slice_of(table[i].label)))
            return table[i].iconv_name;
    return is_windows_1252(charset) ? "CP1252" : is_utf8(charset) ? "UTF-8" : NULL;
}

static void put_code_point(struct buf *out, unsigned code)
{
    if (code < 0x80) {
        buf_append_byte(out, (char)code);
    } else if (code < 0x800) {
        buf_append_byte(out, (char)(0xC0 | code >> 6));
        buf_append_byte(out, (char)(0x80 | (code & 63)));
    } else {
        buf_append_byte(out, (char)(0xE0 | code >> 12));
        buf_append_byte(out, (char)(0x80 | (code >> 6 & 63)));
        buf_append_byte(out, (char)(0x80 | (code & 63)));
    }
}

static void put_windows_1252(struct slice bytes, struct buf *out)
{
    static const unsigned short high[32] = {
        0x20AC, 0xFFFD, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0xFFFD,
        0x017D, 0xFFFD, 0xFFFD, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A,
        0x0153, 0xFFFD, 0x017E, 0x0178};
    for (size_t i = 0; i < bytes.size; i++) {
        unsigned char c = (unsigned char)bytes.data[i];
        put_code_point(out, c >= 0x80 && c < 0xA0 ? high[c - 0x80] : c);
    }
}

static void put_utf8(struct slice bytes, struct buf *out)
{
    while (bytes.size) {
        size_t size = utf8_sequence(bytes);
        buf_append(out, size ? slice_first(bytes, size) : replacement);
        bytes = slice_from(bytes, size ? size : 1);
    }
}

void charset_decode(struct slice charset, struct slice bytes, struct buf *out)
{
    if (is_windows_1252(charset)) {
        put_windows_1252(bytes, out);
        return;
    }
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        if (!slice_equals_nocase(charset, slice_of(table[i].label)))
            continue;
        struct buf converted = {0};
        charset_convert(table[i].iconv_name, table[i].page, bytes, &converted);
        put_utf8(buf_slice(&converted), out); /* whatever the system's converter makes */
        buf_finish(&converted);
        return;
    }
    put_utf8(bytes, out);
}
