/* content: a pickup file's bytes made fit for the wire: canonical, stamped, all other bytes kept.
 *
 * C1  every line ends in CRLF; LF becomes CRLF; a bare CR becomes CRLF too (RFC 5321 2.3.8 forbids it on the
 *     wire; said in `repairs`); a missing last line end is added
 * C2  dots: `auto` removes one leading dot a line only when the file has a stuffing writer's marks (see
 *     content.c's table) and every body line that begins with a dot begins with two; a lone dot as the very
 *     last line is then (auto, always) the writer's end mark and dropped. The result is NOT dot-stuffed: the
 *     wire side does that.
 * C3  a body line over 998 octets: its part is re-encoded (quoted-printable for text, base64 otherwise, its
 *     Content-Transfer-Encoding changed or added), never cut or wrapped. A header line over 998 is refolded at
 *     white space; where there is none the file is refused.
 * C4  headers: those of envelope_is_private_field() go; Received comes first; Date, Message-ID, From (from the
 *     envelope sender), and To: undisclosed-recipients:; are added where missing. Others keep bytes and order.
 *     What the listener took has its Received line already; to a submission Date and Message-ID are added, to what
 *     another relay sent nothing (envelope.h E8).
 * C5  NUL in the body: in a part that is base64-encodable it is re-encoded, otherwise refused.
 * C6  message/rfc822 and multipart/signed, multipart/encrypted parts are never changed inside; where C3 or
 *     down-conversion would have to, the caller gets a reason.
 * Pure: time, names and ids come as arguments. */
#ifndef MR_MESSAGE_CONTENT_H
#define MR_MESSAGE_CONTENT_H

#include "base/buf.h"
#include "message/envelope.h"

enum content_dots { DOTS_AUTO, DOTS_NEVER, DOTS_ALWAYS };

struct content_stamp {
    struct slice host;        /* our name, for Received and Message-ID */
    struct slice pickup_name; /* file name; escaped as a comment by the stamp */
    struct slice owner;       /* the file's owner, "www-data" or "uid 1001" */
    struct slice queue_id;    /* 16 hex digits; also makes the Message-ID unique */
    int64_t time_ms;          /* Unix time */
    int zone_s;               /* local zone's offset, seconds east */
    enum content_dots dots;
    bool has_source;          /* x-virtual-mta names a source that the message may leave from */
    size_t hop_count_max;     /* Received fields allowed; more: refused as a loop (5.4.6) */
};

struct content_facts { /* about the result */
    bool has_8bit_body;    /* an octet over 127 behind the header: needs 8BITMIME or conversion */
    bool has_8bit_header;  /* needs SMTPUTF8 */
    bool has_leading_dot;  /* some line begins with a dot: the wire side must stuff */
    size_t header_size;    /* octets up to and including the blank line */
    struct slice message_id; /* with angle brackets, in the arena */
    struct slice subject;    /* unfolded, raw, in the arena; absent if none */
    struct slice repairs;    /* "crlf dots mime date message-id …": what was changed, blank-separated */
};

enum content_result { CONTENT_DONE, CONTENT_BAD, CONTENT_LOOP };

/* Appends the finished message to `out`. `error` tells why on BAD and LOOP. */
MUST_USE enum content_result content_build(struct arena *arena, struct slice file,
                                           const struct header *header, const struct envelope *envelope,
                                           const struct content_stamp *stamp, struct buf *out,
                                           struct content_facts *ret_facts, struct error *error);

/* A canonical message converted for a hop without 8BITMIME (RFC 6152 3): every leaf's 8-bit content becomes
 * quoted-printable or base64. False with a reason where it can't be (C6, 8-bit header). */
MUST_USE bool content_to_7bit(struct arena *arena, struct slice message, struct buf *out,
                              struct error *error);

/* The message as it goes after DATA: dots stuffed, ended by CRLF "." CRLF (RFC 5321 4.5.2). */
void content_dot_stuff(struct slice message, struct buf *out);

/* RFC 5322 date-time: "Tue, 24 Nov 2026 04:18:00 +0000". */
struct slice content_date(struct arena *arena, int64_t time_ms, int zone_s);

#endif
