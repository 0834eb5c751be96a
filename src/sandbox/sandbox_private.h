/* What the two halves of the sandbox share. */
#ifndef MR_SANDBOX_SANDBOX_PRIVATE_H
#define MR_SANDBOX_SANDBOX_PRIVATE_H

#include "sandbox/sandbox.h"

/* A sanitizer's run time looks at the process itself at its end, as a debugger would. */
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define SANDBOX_IS_INSTRUMENTED 1
#else
#define SANDBOX_IS_INSTRUMENTED 0
#endif

/* landlock.c: A1. `*ret_is_missing`: the kernel has none. */
MUST_USE bool landlock_enter(const struct sandbox_path *paths, size_t count, bool *ret_is_missing,
                             struct error *error);

#endif
