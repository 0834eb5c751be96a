/* What glibc has and the C library of Windows hasn't; in system_windows.c. */
#ifndef MR_CDONTS_SHIM_MISSING_H
#define MR_CDONTS_SHIM_MISSING_H

#include <stddef.h>

void *memmem(const void *bytes, size_t size, const void *needle, size_t needle_size);

#endif
