/* milter: one message told to a filter that speaks sendmail's protocol (version 6), as a pure machine; bytes in, bytes out.
 *
 *   OPTNEG > connect > HELO > MAIL > RCPT… > DATA > header… > end of header > body… > end of body < changes, verdict
 *
 * The whole message is there when the talk begins, so that one connection carries one message from its first word to its last.
 *
 * M1  offered: what is in OFFERED below. A filter that asks for what was not offered has failed, and so has one whose packets
 *     can't be read
 * M2  a refusal of one recipient is one of the message: it can't be refused to some any more (RFC 5321 has one answer)
 * M3  replies are made printable, and begin with 4 or 5 and an enhanced code
 * M4  fields that are added or changed are cleaned: every line of theirs but the first begins with a blank, none holds NUL
 * Not here: sockets, time-outs, what becomes of a failure (smtpd/filter.h). */
#ifndef MR_INBOUND_MILTER_H
#define MR_INBOUND_MILTER_H

#include "base/arena.h"
#include "base/buf.h"
#include "message/header.h"
#include "pickup/pickup_writer.h"

#include <netinet/in.h>

enum { MILTER_PACKET_MAX = 1024 * 1024, MILTER_CHUNK_SIZE = 65535, MILTER_CHANGES_MAX = 1000 };
enum milter_end { MILTER_TALKS, MILTER_ACCEPTS, MILTER_REFUSES, MILTER_DISCARDS, MILTER_FAILED };
enum milter_step { /* in order; milter.c has a row for each */
    STEP_NEGOTIATE, STEP_CONNECT, STEP_HELO, STEP_MAIL, STEP_RCPT, STEP_DATA, STEP_HEADER, STEP_EOH, STEP_BODY, STEP_END,
};

struct milter_subject {
    struct in6_addr client;
    struct slice client_name;          /* or its address in brackets */
    struct slice helo, user;           /* user: of AUTH, empty if there is none */
    const struct submission *submission;
    struct slice host, id;             /* ours; the message's, for the filter's log */
    struct slice message;
};

struct milter_change { char kind; uint32_t index; struct slice name, value; };

struct milter {
    struct arena *arena;
    struct milter_subject subject;
    struct header header;
    enum milter_step step;
    size_t number;                     /* of recipients, fields, octets of the body */
    uint32_t protocol;                 /* what the filter leaves out */
    struct buf input, output;
    struct milter_change *changes;
    size_t change_count;
    struct buf body;                   /* the new one */
    bool is_body_replaced;
    enum milter_end end;
    const char *reply;                 /* REFUSES */
    const char *reason;                /* FAILED: why */
    const char *hold;                  /* the filter's reason to hold it; NULL: none */
};

/* `subject` and what it points to stay with the caller. The first bytes are in `output`, which the driver empties. */
void milter_begin(struct milter *milter, struct arena *arena, const struct milter_subject *subject);
void milter_feed(struct milter *milter, struct slice bytes);
/* After MILTER_ACCEPTS: appends the changed message. False, and nothing appended, if the filter changed nothing. */
bool milter_apply(struct milter *milter, struct buf *out);
void milter_finish(struct milter *milter);

#endif
