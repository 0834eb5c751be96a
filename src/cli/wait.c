/* mailroot wait NAME: until a pickup file has its outcome; the exit code says which.
 *   0 every recipient delivered, or taken before (duplicate)    69 one of them failed, or the file was refused    75 still under way at the end */
#include "cli/command.h"
#include "outcome/history.h"
#include "pickup/mbox.h"
#include "config/value.h"

#include "os/clock.h"

#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <unistd.h>

enum { LOOK_AGAIN_MS = 1000 };

struct outcome {
    const char *name;
    char id[40];
    bool is_done, is_refused, is_failed, is_deferred, is_duplicate;
    unsigned open;       /* messages of the file that are under way */
    char words[512];
};

/* The last file of that name counts: each first "taken" starts anew. All messages of a file are taken before one is done. */
static bool on_event(void *arg, const json_t *event)
{
    struct outcome *outcome = arg;
    const char *kind = history_text(event, "event");
    uint64_t number = mbox_number(history_text(event, "pickup"), outcome->name);
    bool is_duplicate = strcmp(kind, "duplicate") == 0, is_taken = strcmp(kind, "taken") == 0;
    if (number == 0)
        return true;
    if (number == 1 && (is_taken || is_duplicate || strcmp(kind, "refused") == 0)) {
        const char *name = outcome->name;
        *outcome = (struct outcome){.name = name};
        (void)snprintf(outcome->id, sizeof outcome->id, "%s", history_text(event, "id"));
    }
    outcome->open += is_taken;
    bool is_failure = strcmp(kind, "bounced") == 0 || strcmp(kind, "expired") == 0 || strcmp(kind, "rejected") == 0;
    outcome->is_failed = outcome->is_failed || is_failure;
    outcome->is_deferred = strcmp(kind, "deferred") == 0 || strcmp(kind, "unknown") == 0;
    if (strcmp(kind, "refused") == 0)
        outcome->is_refused = outcome->is_done = true;
    if (strcmp(kind, "done") == 0 && outcome->open)
        outcome->open--;
    outcome->is_duplicate = outcome->is_duplicate || is_duplicate;
    if (strcmp(kind, "done") == 0 || is_duplicate)
        outcome->is_done = outcome->open == 0;
    if (is_failure || outcome->is_deferred || outcome->is_refused)
        (void)snprintf(outcome->words, sizeof outcome->words, "%s %s%s", kind, history_text(event, "reply"),
                       history_text(event, "reason"));
    return true;
}

static int tell(const struct outcome *outcome, bool is_json)
{
    const char *what = !outcome->is_done                          ? outcome->id[0] ? "deferred" : "unknown"
                       : outcome->is_refused                      ? "refused"
                       : outcome->is_failed                       ? "failed"
                       : outcome->is_duplicate                    ? "duplicate"
                                                                  : "delivered";
    if (is_json) {
        json_t *json = json_pack("{s:s, s:s, s:s, s:s}", "pickup", outcome->name, "id", outcome->id, "outcome", what,
                                 "words", outcome->words);
        json_dumpf(json, stdout, JSON_COMPACT);
        printf("\n");
        json_decref(json);
    } else {
        printf("%s: %s%s%s\n", outcome->name, what, outcome->words[0] ? ": " : "", outcome->words);
    }
    if (!outcome->is_done)
        return EX_TEMPFAIL;
    return outcome->is_refused || outcome->is_failed ? EX_UNAVAILABLE : EX_OK;
}

static int wait_for(const struct config *config, const char *name, int64_t timeout_ms, bool is_json)
{
    int64_t until_ms = clock_mono_ms() + timeout_ms;
    struct outcome outcome = {.name = name};
    struct error error;
    char changes[4096];
    int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (fd >= 0)
        (void)inotify_add_watch(fd, config->events.file, IN_MODIFY | IN_MOVE_SELF); /* else by looking again */
    for (;;) {
        outcome = (struct outcome){.name = name};
        bool is_read = history_each(config, on_event, &outcome, &error);
        int64_t left_ms = until_ms - clock_mono_ms();
        if ((is_read && outcome.is_done) || left_ms <= 0)
            break;
        struct pollfd watched = {.fd = fd, .events = POLLIN};
        (void)poll(&watched, 1, left_ms < LOOK_AGAIN_MS ? (int)left_ms : LOOK_AGAIN_MS);
        while (fd >= 0 && read(fd, changes, sizeof changes) > 0)
            continue;
    }
    if (fd >= 0)
        close(fd);
    return tell(&outcome, is_json);
}

int command_wait(int argc, char **argv)
{
    struct command_options options;
    int64_t timeout_ms = 60000;
    command_parse(&argc, argv, &options);
    for (int i = 1; i + 1 < argc; i++) {
        if (strcmp(argv[i], "--timeout") != 0)
            continue;
        if (!value_duration(slice_of(argv[i + 1]), &timeout_ms))
            return command_fail("wait", EX_USAGE, "--timeout: a duration as in \"30s\" was expected");
        for (int k = i; k + 2 <= argc; k++)
            argv[k] = argv[k + 2];
        argc -= 2;
        break;
    }
    if (argc != 2)
        return command_fail("wait", EX_USAGE, "the name of one pickup file was expected");
    struct config *config = command_config(&options);
    int code = wait_for(config, argv[1], timeout_ms, options.is_json);
    config_destroy(&config);
    return code;
}
