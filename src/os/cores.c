#include "os/cores.h"

#include <sched.h>

int cores_usable(void)
{
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1; /* fails on over 1024: one thread is still right */
    return count > 0 ? count : 1;
}
