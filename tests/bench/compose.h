/* What compose_cdonts.c and compose_gmime.c share. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static inline double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time); /* what others do on this machine is no matter */
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static inline char *load(const char *path, size_t *ret_size)
{
    FILE *file = fopen(path, "rb");
    char *bytes = file ? malloc(1 << 20) : NULL;
    size_t size = bytes ? fread(bytes, 1, (1 << 20) - 1, file) : 0;
    if (bytes)
        bytes[size] = '\0';
    if (ret_size)
        *ret_size = size;
    if (file)
        fclose(file);
    return bytes;
}

static inline void tell(long rounds, double start, size_t size)
{
    printf("%.0f %zu\n", (double)rounds / (now() - start), size);
}
