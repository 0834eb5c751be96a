/* envelope: who sends a pickup file and who shall get it, by the rules of the folder.
 *
 * E1  X-Receiver lines present: those are the recipients, all of them; To, Cc, Bcc don't count.
 *     Otherwise Resent-To/Cc/Bcc of the top block if there is one, else To, Cc and Bcc (every field of them).
 * E2  X-Sender present: that is the sender; else Resent-Sender/Resent-From if the recipients are resent ones;
 *     else Sender, else From's first address. None: refused (Q319285). `X-Sender: <>` is the null sender.
 * E3  X- lines take a whole encoded mailbox ("Name" <a@b>, RFC 2047 words, folded), a bare address, or
 *     <a@b> and ESMTP parameters: RET ENVID BODY SMTPUTF8 REQUIRETLS AUTH; NOTIFY ORCPT; a final ";" is allowed.
 * E4  they count only in the leading run of X- and trace fields or anywhere in the header as
 *     `options.x_lines_anywhere` says; X-EndOfInjectedXHeaders: N says that the first N octets are the block.
 * E5  bare local names get the default domain; identical recipients (same text) count once
 * E6  a bad recipient among good ones is reported in `rejected`, not silently left out; none good: refused
 * E7  other dialects' lines: x-envid, x-job, x-virtual-mta, x-schedule (PowerMTA), X-Deliver-At (RFC 3339),
 *     X-Idempotency-Key (at most ENVELOPE_KEY_SIZE_MAX octets; pickup/prepare.h O1),
 *     X-Deliver-By (RFC 3339, then ";R" or ";N", then "T" or nothing: RFC 2852's by-value with a moment in it),
 *     X-Priority/Importance/X-MSMail-Priority for the queue's priority only, never removed from the message
 * E8  X-Mailroot-Accepted: submission | relay says that our own listener took it from the network: the content is exactly as
 *     it came. It counts only in a file that is the relay's user's own (options.is_own_file); anybody else's is passed over
 * E9  X-Mailroot-Hold: why, in such a file alone: the message is queued and held until somebody releases it
 * E10 traceparent: the application's trace (message/trace.h T1); one alone counts, and none of what another relay sent. It and
 *     tracestate are the application's own affair, and not sent on; what another relay sent keeps them
 * What is not one message (mbox with several, Django's log) is refused naming the writer.
 * Not here: removing the lines from what is sent (message/stamp.h). */
#ifndef MR_MESSAGE_ENVELOPE_H
#define MR_MESSAGE_ENVELOPE_H

#include "message/address.h"
#include "message/header.h"

enum { ENVELOPE_KEY_SIZE_MAX = 255 };

enum envelope_notify { /* RFC 3461 4.1; a set of bits, 0 = not given */
    NOTIFY_NEVER = 1,
    NOTIFY_SUCCESS = 2,
    NOTIFY_FAILURE = 4,
    NOTIFY_DELAY = 8,
};

enum envelope_ret { RET_UNSET, RET_FULL, RET_HDRS };
enum envelope_accepted { ACCEPTED_NOT, ACCEPTED_SUBMISSION, ACCEPTED_RELAY }; /* E8 */
enum envelope_priority { PRIORITY_LOW = -1, PRIORITY_NORMAL = 0, PRIORITY_HIGH = 1 };

struct envelope_recipient {
    struct address address;
    struct slice orcpt;    /* "rfc822;c@d", xtext as given; absent if none */
    unsigned notify;       /* bits of enum envelope_notify */
};

struct envelope_fault { /* a recipient that can't be used */
    struct slice text;     /* as written */
    const char *reason;    /* static text */
    size_t line;
};

struct envelope {
    struct address sender; /* text is empty (not absent) for the null sender */
    struct envelope_recipient *recipients;
    size_t recipient_count;
    struct envelope_fault *rejected;
    size_t rejected_count;
    enum envelope_ret ret;
    struct slice envid;    /* xtext as given; absent if none */
    struct slice auth;     /* AUTH= of X-Sender, xtext; absent if none */
    bool is_8bit_declared; /* BODY=8BITMIME */
    bool is_requiretls;    /* REQUIRETLS given (RFC 8689) */
    bool is_smtputf8;      /* SMTPUTF8 given, or an address that needs it */
    enum envelope_priority priority;
    enum envelope_accepted accepted;
    bool is_held;          /* E9 */
    bool is_block_ended;   /* E4: what follows the block is the exact message */
    int64_t deliver_at_ms; /* X-Deliver-At as Unix time, 0 = at once */
    int64_t deliver_by_ms; /* X-Deliver-By: TIME;R or N, T behind it (RFC 2852); 0 = whenever */
    bool is_by_return, is_by_traced; /* R: not after it; N: a notice then. T */
    struct slice virtual_mta; /* PowerMTA's, absent if none */
    struct slice once_key; /* X-Idempotency-Key, absent if none */
    struct slice trace;    /* E10, as message/trace.h keeps it; absent if none */
    const char *dialect;   /* "plain", "iis", "dotnet", "exchange-replay", "powermta"…: static text */
};

struct envelope_options {
    struct slice default_domain;   /* for bare local names */
    struct slice default_sender;   /* used when the file names none; absent: refuse */
    size_t recipient_count_max;
    bool x_lines_anywhere;         /* true: X- envelope lines count wherever they stand in the header */
    const char *dialect;           /* said beforehand: nothing else is looked for; NULL: by evidence */
    bool is_own_file;              /* E8 */
};

MUST_USE bool envelope_find(struct arena *arena, struct slice file, const struct header *header,
                            const struct envelope_options *options, struct envelope *ret_envelope,
                            struct error *error);

/* Whether a field is one of the relay's own lines, never to be sent on (E1, E2, E3, Bcc, Return-Path,
 * Exchange's and PowerMTA's block). */
bool envelope_is_private_field(struct slice name);
bool envelope_is_trace_field(struct slice name); /* E10 */

/* NOTIFY's value <-> bits ("NEVER" alone, else a comma list); RFC 3339 time -> Unix milliseconds. */
MUST_USE bool envelope_notify_parse(struct slice text, unsigned *ret_notify);
struct slice envelope_notify_text(struct arena *arena, unsigned notify);
MUST_USE bool envelope_time_parse(struct slice text, int64_t *ret_ms);

#endif
