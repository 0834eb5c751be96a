/* reply: one SMTP reply, as bytes arrive.   RFC 5321 4.2, 2034, 3463
 *   Reply-line = *( Reply-code "-" [textstring] CRLF ) Reply-code [SP textstring] CRLF
 *
 * R1  bytes behind the final line end are never consumed
 * R2  a lone LF ends a line too (servers do it); a code alone, without text, is a whole reply
 * R3  lines with differing codes: the last line's code counts, and is_mixed says so
 * R4  at most REPLY_LINES_MAX lines of REPLY_LINE_SIZE_MAX octets; more is PARSE_BAD (garbage, endless lines)
 * R5  the enhanced code is taken only if its class agrees with the code's first digit
 * Text keeps its octets; whoever logs it escapes it (base/json.h). */
#ifndef MR_SMTP_REPLY_H
#define MR_SMTP_REPLY_H

#include "base/buf.h"

enum { REPLY_LINES_MAX = 128, REPLY_LINE_SIZE_MAX = 2048 };
enum parse { PARSE_DONE, PARSE_MORE, PARSE_BAD };

struct reply {
    int code;                /* 200..599; 0 until done */
    int enhanced[3];         /* {5, 1, 1}; {0, 0, 0} if none was given */
    struct buf text;         /* lines without codes and line ends, parted by '\n', enhanced code kept */
    size_t line_count;
    bool is_mixed;
    struct buf line;         /* the line under way */
    const char *bad_reason;  /* static, after PARSE_BAD */
};

enum parse reply_feed(struct reply *reply, struct slice bytes, size_t *ret_consumed);
void reply_reset(struct reply *reply); /* for the next one; keeps memory */
void reply_finish(struct reply *reply);

/* "550-5.1.1 first second": code and all lines as one printable line, at most `size_max` octets. */
void reply_one_line(const struct reply *reply, size_t size_max, struct buf *out);
/* The enhanced code, or the one that stands for the bare code (550 -> 5.0.0), as "5.1.1". */
void reply_status(const struct reply *reply, char ret_status[16]);

#endif
