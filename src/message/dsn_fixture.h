/* dsn_fixture: a report with usual values, composed and taken apart, for tests. */
#ifndef MR_MESSAGE_DSN_FIXTURE_H
#define MR_MESSAGE_DSN_FIXTURE_H

#include "message/dsn.h"

#define FIELDS "From: a@x.org\r\nSubject: Hello\r\nMessage-ID: <1@x.org>\r\n"
#define ORIGINAL FIELDS "\r\nThe body.\r\n"
#define TIME_MS INT64_C(1795493880000) /* Tue, 24 Nov 2026 04:18:00 +0000 */
#define LINES(...) ((const char *const[]){__VA_ARGS__, NULL})

/* c@d.org, refused by mx.d.org with 550 5.1.1; a failure with RET=FULL about ORIGINAL. */
struct dsn_recipient recipient_usual(void);
struct dsn_report report_usual(const struct dsn_recipient *recipient);

struct composed { struct arena arena; struct buf out; };
struct slice compose(struct composed *composed, const struct dsn_report *report);
void release(struct composed *composed);

/* The top header for 0, or part `number` with its header. */
struct slice part(struct slice out, int number);
struct slice part_body(struct slice out, int number);

bool has(struct slice out, const char *text);
void must_have(struct slice out, const char *text);
void must_have_all(struct slice out, const char *const *texts); /* up to a NULL */
void must_lack(struct slice out, const char *text);
/* CRLF alone, lines of at most 998 octets, no control octet, UTF-8: what holds for all. */
void must_be_canonical(struct slice out);

#endif
