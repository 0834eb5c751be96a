/* rate: how many posts an address may make.
 * Each has a bucket of `per_minute` that fills again over a minute. 4096 buckets by a keyed hash: strangers may share one, which
 * only makes it stricter. IPv6 counts by /64. Calls from any thread. */
#ifndef MR_WEB_RATE_H
#define MR_WEB_RATE_H

#include "base/slice.h"

struct rate;
struct rate *rate_create(int per_minute); /* 0: everything is allowed */
void rate_destroy(struct rate **rate);
bool rate_take(struct rate *rate, struct slice address, int64_t now_ms);

#endif
