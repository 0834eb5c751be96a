#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void make_printable(char *text)
{
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
}

bool error_set(struct error *error, const char *format, ...)
{
    if (!error)
        return false;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(error->text, sizeof error->text, format, args); /* cut is fine */
    va_end(args);
    make_printable(error->text);
    return false;
}

bool error_prefix(struct error *error, const char *format, ...)
{
    if (!error)
        return false;
    char old[ERROR_TEXT_SIZE_MAX];
    memcpy(old, error->text, sizeof old);
    va_list args;
    va_start(args, format);
    int length = vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    if (length >= 0 && (size_t)length < sizeof error->text)
        (void)snprintf(error->text + length, sizeof error->text - (size_t)length, ": %s", old);
    make_printable(error->text);
    return false;
}

bool error_set_errno(struct error *error, const char *what)
{
    return error_set(error, "%s: %s", what, strerror(errno));
}
