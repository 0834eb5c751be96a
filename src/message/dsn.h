/* dsn: delivery status notifications, composed.   RFC 3461, 3462/6522, 3464, 6533, 3834
 *
 * One multipart/report for one message and one action, with a text that people can read, the machine part
 * (message/delivery-status, or message/global-delivery-status where an address needs UTF-8), and the header
 * (text/rfc822-headers) or the whole message (message/rfc822) as RET asks and the size cap allows.
 * From MAILER-DAEMON at our host, To the envelope sender, Auto-Submitted: auto-replied, sent with a null sender.
 * Text of others (replies, names) is data: no CR, LF or control octet of theirs reaches a line of ours.
 * Pure: appends to `out`; canonical CRLF, lines <= 998, 7-bit unless an address or a reply isn't.
 * Not here: whether one may be sent at all (outcome/bounce.h). */
#ifndef MR_MESSAGE_DSN_H
#define MR_MESSAGE_DSN_H

#include "base/buf.h"
#include "message/envelope.h"

enum dsn_action { DSN_FAILED, DSN_DELAYED, DSN_DELIVERED, DSN_RELAYED, DSN_EXPANDED };

struct dsn_recipient {
    struct slice address;     /* final recipient, local@domain */
    struct slice orcpt;       /* as given ("rfc822;…" xtext), absent if none */
    struct slice status;      /* "5.1.1" */
    struct slice remote_mta;  /* host name, absent if none was reached */
    struct slice diagnostic;  /* the server's reply as one text ("550 5.1.1 No such user"), or ours */
    bool is_smtp_diagnostic;  /* diagnostic came from a server: "smtp; …", else "x-mailroot; …" */
    int64_t last_attempt_ms;  /* 0 = none */
    int64_t will_retry_until_ms; /* for DSN_DELAYED */
};

struct dsn_report {
    enum dsn_action action;
    struct slice host;           /* our name */
    struct slice from;           /* address in From; absent: MAILER-DAEMON at our name */
    struct slice queue_id;       /* of the DSN itself, for Message-ID */
    struct slice original_id;    /* queue id of the message it is about */
    struct slice sender;         /* envelope sender the DSN goes to */
    struct slice envid;          /* xtext, absent if none */
    enum envelope_ret ret;
    int64_t arrival_ms;
    int64_t now_ms;
    int zone_s;
    struct slice original;       /* the message, canonical; only its header may be given */
    bool is_header_only;         /* `original` holds no body: RET=FULL can't be honoured */
    size_t returned_size_max;    /* a larger original is returned as headers only */
    const struct dsn_recipient *recipients;
    size_t recipient_count;
};

void dsn_compose(struct arena *arena, const struct dsn_report *report, struct buf *out);

#endif
