/* tlsrpt: how connections were secured, counted by day, domain and policy, and the report about it.   RFC 8460
 *
 * Queue/tlsrpt/DAY.json holds {"DOMAIN": [the report's "policies"], …} of a day (UTC), as RFC 8460 4.4 has it.
 * B1  a session is counted once, for the domain that it was opened for; policies are "tlsa", "sts" and "no-policy-found"
 * B2  counts reach the disk within TLSRPT_SAVE_MS; what a power cut takes of them is gone
 * B3  at most TLSRPT_DOMAINS_MAX domains a day and TLSRPT_DETAILS_MAX kinds of failure a policy; more are counted in the last one
 * For one thread. */
#ifndef MR_OUTCOME_TLSRPT_H
#define MR_OUTCOME_TLSRPT_H

#include "base/arena.h"
#include "config/config.h"

#include <jansson.h>

enum { TLSRPT_SAVE_MS = 5000, TLSRPT_DOMAINS_MAX = 20000, TLSRPT_DETAILS_MAX = 50, TLSRPT_DAY_SIZE = 11, TLSRPT_RUA_MAX = 8 };

struct tlsrpt_policy { const char *type; json_t *strings, *hosts; }; /* policy-string, mx-host: arrays, taken over; NULL: none */
struct tlsrpt_failure { const char *type, *sending_ip, *host, *receiving_ip, *reason; }; /* NULL: not known */

struct tlsrpt;
MUST_USE struct tlsrpt *tlsrpt_open(const char *queue_dir, int64_t now_ms, struct error *error);
void tlsrpt_close(struct tlsrpt **tlsrpt); /* what is not yet saved is saved */
/* `failure` NULL: it was secured as the policy wants. True: tlsrpt_save() is due. */
bool tlsrpt_count(struct tlsrpt *tlsrpt, const char *domain, const struct tlsrpt_policy *policy, const struct tlsrpt_failure *failure,
                  int64_t now_ms);
MUST_USE bool tlsrpt_save(struct tlsrpt *tlsrpt, struct error *error);

void tlsrpt_day(int64_t time_ms, char ret_day[TLSRPT_DAY_SIZE]); /* "2026-11-25" */
/* The first day behind `after` and before `before` that is still to be reported; false: none. */
bool tlsrpt_next(const char *queue_dir, const char *after, const char *before, char ret_day[TLSRPT_DAY_SIZE]);
json_t *tlsrpt_read(const char *queue_dir, const char *day, struct error *error); /* {"DOMAIN": policies}; the caller's */
/* What is left of a day; the file goes with the last domain. */
MUST_USE bool tlsrpt_write(const char *queue_dir, const char *day, const json_t *domains, struct error *error);

/* "v=TLSRPTv1; rua=mailto:a@b,https://c/d" (RFC 8460 3): the addresses; 0 if it is no record. */
size_t tlsrpt_record_parse(struct arena *arena, struct slice text, const char *ret_rua[TLSRPT_RUA_MAX]);
/* The report as JSON text (RFC 8460 4.4), and the message that brings it (5.3): the header and body of a pickup file. */
void tlsrpt_compose(const struct config *config, const char *domain, const json_t *policies, const char *day, const char *report_id,
                    struct buf *out);
MUST_USE bool tlsrpt_gzip(struct slice text, struct buf *out);
void tlsrpt_compose_mail(const struct config *config, const char *domain, const char *day, const char *report_id, const char *to,
                         struct slice gzipped, struct buf *out);

#endif
