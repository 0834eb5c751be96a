#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

void check_failed(const char *condition, const char *file, int line, const char *function)
{
    fprintf(stderr, "mailroot: %s:%d: %s: does not hold: %s\n", file, line, function, condition);
    abort();
}
