/* What the files of compose share: fields of a header, each complete with its line end. */
#ifndef MR_MESSAGE_COMPOSE_PRIVATE_H
#define MR_MESSAGE_COMPOSE_PRIVATE_H

#include "message/compose.h"

/* Unstructured text: RFC 5322 2.2.1, RFC 2047. */
void compose_put_text(struct buf *out, const char *name, struct slice value);
void compose_put_addresses(struct buf *out, const char *name, const struct address_list *list);
/* "; name=value" or its RFC 2231 form, folded in front. */
void compose_put_parameter(struct buf *out, const char *name, struct slice value);
/* "; name=" with encoded-words in a quoted string, for old readers; nothing of its own if the value is plain. */
void compose_put_legacy_parameter(struct buf *out, const char *name, struct slice value);

/* A text part's transfer encoding and body: canonical line ends, C4. */
void compose_put_text_body(struct buf *out, struct slice text);
void compose_put_base64_body(struct buf *out, struct slice bytes);
void compose_uuencode(struct buf *out, struct slice name, struct slice bytes);
/* By the name's ending. */
const char *compose_type_of(struct slice name);

#endif
