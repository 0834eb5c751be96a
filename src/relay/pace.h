/* pace: how much a site takes from one source: the config's rates, and limits that tune themselves by what it answers.
 *   Additive increase, multiplicative decrease, as TCP's (RFC 5681 3.1)
 *
 * J1  a rate of N in a span lets at most N go in a span that slides: the last span's count fades as this one's grows
 * J2  "too much" halves the connections that are open; when one is left, the rate is halved instead. Answers that come within
 *     PACE_CUT_GAP_MS of a cut tell of the same cause and change nothing
 * J3  behind each delivery.tune_interval in which mail was taken and nobody complained, one connection more, or 6 messages a minute
 *     more, until the config's own limits are reached again
 * J4  a rest doubles with each complaint that follows without a delivery between, up to PACE_REST_MAX_MS. Refusals for good (5xx)
 *     open the circuit with the third in a row: what waits is kept rather than refused too. After the rest one connection probes
 * J5  every change is told with its cause, and kept in Queue/pace.json, so that a restart does not forget it
 * J6  a warm-up gives the messages of the first days from a source to a site, one number a day (UTC); behind its end there is no limit
 * Pure: times are arguments, in wall milliseconds; a clock that jumps back starts the spans anew. */
#ifndef MR_RELAY_PACE_H
#define MR_RELAY_PACE_H

#include "base/hash.h"
#include "config/config.h"

#include <jansson.h>

enum { PACE_CUT_GAP_MS = 5000, PACE_REST_MAX_MS = 60 * 60 * 1000, PACE_REFUSALS_MAX = 3, PACE_CAUSE_SIZE = 300 };

struct pace_count { int64_t span_ms, start_ms; int now, before; };

struct pace {                   /* of a site's messages from a source; zeroed is one that knows nothing */
    char *name;                 /* key */
    size_t connections;         /* learnt; 0: the config's */
    int64_t interval_ms;        /* learnt least time between two messages; 0: none */
    int64_t last_sent_ms, last_cut_ms, last_rise_ms, rests_until_ms, no_ipv6_until_ms;
    unsigned complaints;        /* without a delivery between */
    struct pace_count counts[CONFIG_RATES_MAX];
    struct pace_count day;      /* the warm-up's */
    int64_t first_ms;           /* of the first message: day 0 of the warm-up */
    char cause[PACE_CAUSE_SIZE]; /* of the last change: a reply */
    UT_hash_handle hh;
};

struct pace_limits {            /* the config's, for one pace */
    const struct config_rates *rates;
    const struct config_warmup *warmup; /* NULL: none */
    size_t connections_max;
    int64_t tune_interval_ms;
    size_t nodes, rank;         /* of a cluster, which shares the rates out; 0: none does */
};

/* Milliseconds until one more message may go; 0: now. `ret_limit` names what binds: "1000/1d", "learnt". */
int64_t pace_wait_ms(const struct pace *pace, const struct pace_limits *limits, int64_t now_ms, char ret_limit[64]);
void pace_take(struct pace *pace, const struct pace_limits *limits, int64_t now_ms);
/* A site complained that it is too much (`is_final`: with a refusal for good). True with what changed in words. */
bool pace_complained(struct pace *pace, size_t connections, bool is_final, int64_t rest_ms, struct slice cause, int64_t now_ms,
                     char ret_change[128]);
/* A message was taken. True with what changed in words. */
bool pace_delivered(struct pace *pace, const struct pace_limits *limits, int64_t now_ms, char ret_change[128]);
/* Nothing is known of it that a restart should keep. */
bool pace_is_plain(const struct pace *pace, int64_t now_ms);
json_t *pace_to_json(const struct pace *pace);
void pace_from_json(struct pace *pace, const json_t *json);

#endif
