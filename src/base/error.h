/* error: what went wrong, in words, gathered on the way up.
 *
 * A function that can fail returns bool (or an enum) and fills a struct error on failure only. Callers
 * prefix context: "Pickup/a.eml: line 3: X-Receiver: no domain". Text is safe for a terminal or a log:
 * error_set() escapes control bytes of what it is given. */
#ifndef MR_BASE_ERROR_H
#define MR_BASE_ERROR_H

#include "base/check.h"

#include <stdbool.h>

enum { ERROR_TEXT_SIZE_MAX = 512 };

struct error {
    char text[ERROR_TEXT_SIZE_MAX]; /* NUL-terminated, printable, cut when too long */
};

/* Both return false, so that `return error_set(error, …);` reads well. `error` may be NULL. */
bool error_set(struct error *error, const char *format, ...) FORMAT(2, 3);
bool error_prefix(struct error *error, const char *format, ...) FORMAT(2, 3); /* "prefix: text" */
bool error_set_errno(struct error *error, const char *what); /* "what: strerror(errno)" */

#endif
