/* lab: one run of a scenario: the relay's own engine against a made-up world, in one process and one order.
 *
 *   scenario ─> names, hosts, sends, steps ─┐
 *   relay (relay/, route/, store/ as always) ┴─ loop until nothing is left to do now ─> commits ─> the clock jumps to the next timer
 *
 * L1  nothing waits: time moves only when everything that can happen at this moment has happened, commits included
 * L2  the same scenario gives the same events at the same times: one thread, dice of its own, a start that is always the same moment
 * L3  no network, and no file outside the folder that is made for the run; the queue in it is the usual one
 * What differs from `mailroot run`: no Pickup and no listener (messages are handed over where intake hands them), no MTA-STS, DANE or
 * reports, no AUTH (users of routes are left out), and what a config delivers into a folder goes to one of the run's own. */
#ifndef MR_LAB_LAB_H
#define MR_LAB_LAB_H

#include "lab/scenario.h"
#include "store/store.h"

#include <jansson.h>

struct lab;

struct lab_parts {
    const struct scenario *scenario;
    const char *config_file;           /* NULL: defaults alone */
    const char *const *settings;       /* go before the scenario's */
    size_t setting_count;
    const char *dir;                   /* an empty folder for the run; the caller removes it */
    /* Each event as the relay's log has it, and the lab's own (hosts.h, steps as "step"); `at_ms` since the start. */
    void (*event)(void *arg, const json_t *event, int64_t at_ms);
    void *arg;
};

/* The config's mistakes are in `report`. `parts` has to stay in place. */
MUST_USE struct lab *lab_open(const struct lab_parts *parts, struct buf *report);
const struct config *lab_config(const struct lab *lab);
/* Plays it to its end: until all is sent and done and the queue is empty, or the scenario's time is over. */
MUST_USE bool lab_run(struct lab *lab, struct error *error);
void lab_end(struct lab *lab); /* from an event's call: enough was seen, lab_run() returns soon */
/* What is in the queue then. */
MUST_USE bool lab_left(struct lab *lab, store_message_fn *fn, void *arg, struct error *error);
void lab_close(struct lab **lab);

#endif
