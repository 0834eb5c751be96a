/* What the files of the content share: facts of a body, and re-encoding of MIME leaves. */
#ifndef MR_MESSAGE_CONTENT_PRIVATE_H
#define MR_MESSAGE_CONTENT_PRIVATE_H

#include "message/content.h"

enum { CONTENT_LINE_MAX = 998, MIME_DEPTH_MAX = 100 };

struct body_facts {
    bool is_canonical;    /* every line ends in CRLF, no other CR or LF */
    bool has_bare_cr, has_nul, has_8bit, has_long_line;
    bool has_dot;         /* a line begins with a dot */
    bool dots_are_double; /* every such line but an end mark begins with two */
    bool has_double_dot;
    bool has_end_mark;    /* the last line is a lone dot */
};

enum body_dots { BODY_DOTS_KEEP, BODY_DOTS_REMOVE };
void body_look(struct slice body, struct body_facts *ret_facts);
void body_put_line(struct buf *out, struct slice line); /* with CRLF; a bare CR inside becomes one too */
void body_canonical(struct slice body, enum body_dots dots, bool drop_end_mark, struct buf *out);

/* mime.c: a canonical message with those leaves re-encoded that have what `what` names: quoted-printable for text, base64
 * for the rest. False with a reason where it may not be done (signed, encrypted, preamble, message/partial). */
enum { RECODE_LONG = 1, RECODE_NUL = 2, RECODE_8BIT = 4 };
MUST_USE bool mime_recode(struct arena *arena, struct slice message, unsigned what, struct buf *out,
                          struct error *error);

/* recode.c: transfer encodings, RFC 2045 6.7 and 6.8; canonical CRLF text in and out. */
void encode_quoted_printable(struct slice bytes, struct buf *out);
void encode_base64(struct slice bytes, struct buf *out);

#endif
