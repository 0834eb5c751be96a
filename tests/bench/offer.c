/* Offers files at a fixed rate, whatever becomes of them: renames FROM/loadN to TO/loadN.eml, one each 1/RATE s, and says when.
 *   offer FROM TO COUNT RATE     prints "loadN.eml MICROSECONDS" for each; the time is the wall clock's just before the rename */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static long long now_us(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

int main(int argc, char **argv)
{
    char from[4096], to[4096];
    if (argc != 5)
        return 2;
    long count = strtol(argv[3], NULL, 10);
    double rate = strtod(argv[4], NULL);
    long long *renamed_us = calloc((size_t)count + 1, sizeof *renamed_us), start_us = now_us(CLOCK_MONOTONIC);
    for (long i = 0; i < count; i++) {
        long long wait_us = start_us + (long long)((double)i * 1e6 / rate) - now_us(CLOCK_MONOTONIC);
        if (wait_us > 0)
            nanosleep(&(struct timespec){wait_us / 1000000, wait_us % 1000000 * 1000}, NULL);
        snprintf(from, sizeof from, "%s/load%ld", argv[1], i);
        snprintf(to, sizeof to, "%s/load%ld.eml", argv[2], i);
        renamed_us[i] = now_us(CLOCK_REALTIME);
        if (rename(from, to) != 0) {
            perror(from);
            return 1;
        }
    }
    for (long i = 0; i < count; i++)
        printf("load%ld.eml %lld\n", i, renamed_us[i]);
    free(renamed_us);
    return 0;
}
