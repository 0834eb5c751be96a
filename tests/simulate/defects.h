/* defects: mistakes of the relay, played by functions of its own that the linker puts before it (--wrap), so that the invariants can be seen
 * to notice them. The relay's code is as it is; with no defect chosen each call passes through. */
#ifndef MR_SIMULATE_DEFECTS_H
#define MR_SIMULATE_DEFECTS_H

#include <stdbool.h>
#include <stddef.h>

bool defect_choose(const char *name);    /* for this process; false: there is no such one */
const char *defect_name(size_t number);  /* NULL behind the last */

#endif
