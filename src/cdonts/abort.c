/* In a library the last resorts of base/ neither print nor exit: the process aborts, as with a failed assertion (N7). */
#include "base/check.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

void check_failed(const char *condition, const char *file, int line, const char *function)
{
    (void)condition;
    (void)file;
    (void)line;
    (void)function;
    abort();
}

void mem_exhausted(size_t size)
{
    (void)size;
    abort();
}

void *mem_alloc(size_t size)
{
    void *data = calloc(1, size ? size : 1);
    if (!data)
        abort();
    return data;
}

void *mem_resize(void *old, size_t size)
{
    void *data = realloc(old, size ? size : 1);
    if (!data)
        abort();
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
