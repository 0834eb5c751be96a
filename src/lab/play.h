/* play: what name server and hosts of one run share: the scenario, its time, its dice. */
#ifndef MR_LAB_PLAY_H
#define MR_LAB_PLAY_H

#include "lab/scenario.h"

#include <jansson.h>

struct event_base;

struct play {
    const struct scenario *scenario;
    struct event_base *base;
    int64_t start_ms;          /* wall, when the scenario began */
    int64_t began_ms;          /* monotonic */
    uint64_t random;
    /* What servers see, which the relay doesn't know: json is the callee's. NULL: nobody wants to know. */
    void (*seen)(void *arg, json_t *what);
    void *seen_arg;
};

int64_t play_now_ms(const struct play *play); /* since the start */
int play_dice(void *play);                    /* 0 to 99 */
int64_t play_delay_ms(struct play *play, const struct lab_phases *phases, int64_t standard_ms);

#endif
