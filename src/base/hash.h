/* hash: uthash.h (its manual: https://troydhanson.github.io/uthash/), which takes its memory as the rest of the program
 * does (base/mem.h). By itself it calls exit() when there is none. */
#ifndef MR_BASE_HASH_H
#define MR_BASE_HASH_H

#include "base/mem.h"

#define uthash_fatal(message) mem_exhausted(0)
#include <uthash.h>

#endif
