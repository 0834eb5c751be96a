/* json: writes one JSON value after another into a buf.
 *
 * For the event stream, where a line is written for each step of each message: no tree, no allocation
 * beyond the buffer's. What is read, or built once, goes through jansson.
 * Bytes that are not UTF-8 come out as U+FFFD, control bytes as \u00XX: a line of events can't be forged
 * by what a message, a file name or a remote server says. Commas are put by the writer. */
#ifndef MR_BASE_JSON_H
#define MR_BASE_JSON_H

#include "base/buf.h"

void json_open(struct buf *out, char bracket);  /* '{' or '[', as a value */
void json_close(struct buf *out, char bracket); /* '}' or ']' */
void json_key(struct buf *out, const char *key); /* key is our own clean text */
void json_text(struct buf *out, struct slice text); /* absent writes null */
void json_number(struct buf *out, int64_t number);
void json_bool(struct buf *out, bool value);
/* key and value in one */
void json_put_text(struct buf *out, const char *key, struct slice text);
void json_put_number(struct buf *out, const char *key, int64_t number);
void json_put_bool(struct buf *out, const char *key, bool value);

#endif
