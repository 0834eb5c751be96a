/* path: the arguments of MAIL and RCPT, as both the listener and the sink read them.   RFC 5321 4.1.2, 3461 4
 *
 *   "FROM:" [blank] "<" path ">" *( SP NAME [ "=" VALUE ] )
 * Slices point into the argument. Not here: what a path or a parameter means. */
#ifndef MR_SMTP_PATH_H
#define MR_SMTP_PATH_H

#include "base/slice.h"

/* The octets between "<" and ">" behind `prefix`, quoted strings minded; what follows in *ret_rest. */
bool smtp_path_read(struct slice argument, struct slice prefix, struct slice *ret_path, struct slice *ret_rest);
/* The same, or a word without brackets, as many clients write it. */
bool smtp_path_read_bare(struct slice argument, struct slice prefix, struct slice *ret_path, struct slice *ret_rest);
/* Cuts the next parameter off; false at the end. `ret_value` is absent where there is no "=". */
bool smtp_parameter_next(struct slice *rest, struct slice *ret_name, struct slice *ret_value);
/* xtext that decodes to printable octets alone: neither a control octet nor a NUL hides in it (+00, +0D+0A). */
bool smtp_is_xtext(struct slice text);

#endif
