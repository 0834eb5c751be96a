#include "message/charset.h"

#include "base/mem.h"

#include <limits.h>
#include <stdlib.h>
#include <windows.h>

enum { PAGE_UTF16_LE = 1200, PAGE_UTF16_BE = 1201 };

static wchar_t *widen(unsigned page, struct slice bytes, int *ret_count)
{
    int count;
    wchar_t *wide;
    if (page == PAGE_UTF16_LE || page == PAGE_UTF16_BE) { /* which MultiByteToWideChar() doesn't take */
        count = (int)(bytes.size / 2);
        wide = mem_alloc((size_t)(count + 1) * sizeof *wide);
        for (int i = 0; i < count; i++) {
            unsigned char first = (unsigned char)bytes.data[2 * i], second = (unsigned char)bytes.data[2 * i + 1];
            wide[i] = (wchar_t)(page == PAGE_UTF16_LE ? first | second << 8 : first << 8 | second);
        }
    } else {
        count = MultiByteToWideChar(page, 0, bytes.data, (int)bytes.size, NULL, 0);
        wide = mem_alloc((size_t)(count + 1) * sizeof *wide);
        count = count > 0 ? MultiByteToWideChar(page, 0, bytes.data, (int)bytes.size, wide, count) : 0;
    }
    *ret_count = count;
    return wide;
}

void charset_convert(const char *iconv_name, unsigned page, struct slice bytes, struct buf *out)
{
    int count;
    (void)iconv_name;
    if (bytes.size == 0 || bytes.size > INT_MAX)
        return;
    wchar_t *wide = widen(page, bytes, &count);
    int size = count > 0 ? WideCharToMultiByte(CP_UTF8, 0, wide, count, NULL, 0, NULL, NULL) : 0;
    if (size > 0) {
        char *room = buf_reserve(out, (size_t)size);
        out->size += (size_t)WideCharToMultiByte(CP_UTF8, 0, wide, count, room, size, NULL, NULL);
    } else {
        buf_append(out, bytes); /* a page that isn't installed */
    }
    free(wide);
}
