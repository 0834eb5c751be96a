#include "message/charset.h"

#include <errno.h>
#include <iconv.h>

void charset_convert(const char *iconv_name, unsigned page, struct slice bytes, struct buf *out)
{
    (void)page;
    iconv_t by = iconv_open("UTF-8", iconv_name);
    char *in = (char *)(uintptr_t)bytes.data;
    size_t left = bytes.size;
    bool is_whole = false;
    if (by == (iconv_t)-1) { /* a system without iconv's tables */
        buf_append(out, bytes);
        return;
    }
    while (!is_whole) {
        size_t room = left * 4 + 64, free_size = room;
        char *at = buf_reserve(out, room);
        bool is_end = left == 0; /* what a stateful charset still holds */
        size_t result = iconv(by, is_end ? NULL : &in, is_end ? NULL : &left, &at, &free_size);
        int why = errno;
        out->size += room - free_size;
        is_whole = is_end;
        if (result != (size_t)-1 || why == E2BIG || left == 0)
            continue;
        buf_append_text(out, "\xEF\xBF\xBD");
        in++;
        left--;
    }
    iconv_close(by);
}
