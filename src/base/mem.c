#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

void *mem_alloc(size_t size)
{
    void *data = calloc(1, size ? size : 1);
    if (!data)
        mem_exhausted(size);
    return data;
}

void *mem_resize(void *old, size_t size)
{
    void *data = realloc(old, size ? size : 1);
    if (!data)
        mem_exhausted(size);
    return data;
}

char *mem_copy_text(const char *text)
{
    return mem_copy_bytes(text, strlen(text));
}

char *mem_copy_bytes(const void *data, size_t size)
{
    char *copy = mem_alloc(size + 1);
    if (size)
        memcpy(copy, data, size);
    return copy;
}

void mem_exhausted(size_t size)
{
    char text[96];
    int length = snprintf(text, sizeof text, "mailroot: out of memory (%zu bytes asked)\n", size);
    (void)!write(STDERR_FILENO, text, (size_t)length); /* nothing left to do if this fails */
    _exit(EX_TEMPFAIL);
}
