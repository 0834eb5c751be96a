/* play: what name server and hosts of one run share: the scenario, its time, its dice. */
#ifndef MR_LAB_PLAY_H
#define MR_LAB_PLAY_H

#include "lab/scenario.h"

#include <jansson.h>

struct event_base;

struct play {
    const struct scenario *scenario;
    struct event_base *base;
    int64_t began_ms;          /* monotonic */
    uint64_t random;
    /* What servers see, which the relay doesn't know: json is the callee's. */
    void (*seen)(void *arg, json_t *what);
    void *seen_arg;
};

int64_t play_now_ms(const struct play *play); /* since the start */
/* The phase that says something of `what` now, where chance lets it; NULL if none does. */
typedef bool play_says_fn(const struct lab_phase *phase, int what);
const struct lab_phase *play_phase(struct play *play, const struct lab_phases *phases, play_says_fn *says, int what);
int64_t play_delay_ms(struct play *play, const struct lab_phases *phases, int64_t standard_ms);

#endif
