/* What is shared by webhook.c (window, order, retries) and webhook_state.c (secret, place, what is set aside). */
#ifndef MR_OUTCOME_WEBHOOK_PRIVATE_H
#define MR_OUTCOME_WEBHOOK_PRIVATE_H

#include "base/buf.h"
#include "base/hash.h"
#include "outcome/follow.h"
#include "outcome/webhook.h"

enum { WEBHOOK_ID_SIZE = 4 + 32 };

struct hook_event {            /* of the window, in the log's order */
    struct hook_event *next;
    struct hook *hook;
    struct hook_event *same;   /* the one before it of the same message, while that isn't done */
    struct https_call *call;   /* under way */
    char id[WEBHOOK_ID_SIZE + 1], *key; /* key: the message; "" none */
    struct buf body;
    struct follow_place place; /* where its line begins */
    int64_t time_ms;           /* wall */
    int64_t due_ms;            /* monotonic */
    unsigned refusals;
    bool is_done;
};

struct taken { char id[WEBHOOK_ID_SIZE + 1]; UT_hash_handle hh; };

struct hook {
    struct webhooks *all;
    const struct config_hook *config;
    struct buf secret;
    struct follower follower;
    struct hook_event *first, **last;
    struct taken *taken;       /* of the last run, behind the place */
    size_t count, in_flight;
    int64_t begin_ms;          /* wall: events before it are not of interest */
    int64_t rest_ms, rests_until_ms; /* rest_ms 0: the endpoint works */
    struct follow_place saved;
    bool is_changed;           /* since the state was saved */
};

/* webhook_state.c */
MUST_USE bool hook_read_secret(struct hook *hook, struct error *error);
/* The place to begin at, zeroed if there is none; fills hook->taken. */
MUST_USE bool hook_load(struct hook *hook, int folder_fd, struct follow_place *ret_place, struct error *error);
MUST_USE bool hook_save(struct hook *hook, int folder_fd, struct error *error);
MUST_USE bool hook_set_aside(const struct hook_event *event, int folder_fd, const char *reason, struct error *error);
void hook_forget_taken(struct hook *hook);

#endif
