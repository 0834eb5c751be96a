/* mem: memory that is never NULL.
 *
 * The program's own limits (config `limits`) bound what it asks for. When the system still refuses, the
 * process says so and leaves with EX_TEMPFAIL (75): everything accepted is durable, the supervisor starts
 * it again, and no code path has to guess what a half-built message means.
 *
 * Pure parsers take an arena instead (base/arena.h). */
#ifndef MR_BASE_MEM_H
#define MR_BASE_MEM_H

#include <stddef.h>

void *mem_alloc(size_t size);                        /* zeroed; free() it */
void *mem_resize(void *old, size_t size);            /* like realloc; new bytes are not zeroed */
char *mem_copy_text(const char *text);               /* like strdup */
char *mem_copy_bytes(const void *data, size_t size); /* copy with a NUL behind it */
_Noreturn void mem_exhausted(size_t size);

#endif
