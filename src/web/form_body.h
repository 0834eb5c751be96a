/* form_body: what a browser posts, cut into fields.   WHATWG URL 5.1, RFC 7578, RFC 2046 5.1.1
 *
 * B1  at most FORM_FIELDS_MAX fields, FORM_FILES_MAX files, names of FORM_NAME_SIZE_MAX octets: more is refused, never cut
 * B2  a multipart body without its closing boundary is refused: it may be half
 * B3  a file's name is its base name, whichever way the slashes lean; it is text, never a path
 * B4  values are octets as they came; charsets are for charset.h
 * Slices live in the arena or point into the body. Linear time. */
#ifndef MR_WEB_FORM_BODY_H
#define MR_WEB_FORM_BODY_H

#include "base/arena.h"
#include "base/error.h"

enum { FORM_FIELDS_MAX = 1000, FORM_FILES_MAX = 20, FORM_NAME_SIZE_MAX = 200, FORM_BOUNDARY_SIZE_MAX = 200 };

struct form_field {
    struct slice name, value;
    struct slice file_name; /* absent: no file */
    struct slice type;      /* a file's Content-Type, "" if not given */
};

struct form_body { struct form_field *fields; size_t count, files; };

enum form_result { FORM_DONE, FORM_MALFORMED, FORM_TOO_MUCH, FORM_OTHER_TYPE };
MUST_USE enum form_result form_body_read(struct arena *arena, struct slice content_type, struct slice body,
                                         struct form_body *ret_body, struct error *error);
/* The first field of that name (case counts), NULL if there is none. */
const struct form_field *form_body_find(const struct form_body *body, struct slice name);
/* A path or query with %XX resolved; "+" is a blank if `plus`. */
struct slice form_unescape(struct arena *arena, struct slice text, bool plus);

#endif
