#include "cli/run_rehearse.h"

#include "cli/confine.h"
#include "cli/identity.h"
#include "cli/rehearsal.h"
#include "cli/supervise.h"
#include "os/file.h"
#include "pickup/watch.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TIMEOUT_MS = 2 * 60 * 1000 };

static volatile sig_atomic_t is_reload;

struct role_state {
    struct rehearsal_parts parts;
    char dir[4200];
    int fd;
};

static void folder_of(const struct config *config, char ret_dir[4200])
{
    (void)snprintf(ret_dir, 4200, "%s/.rehearse", config->pickup.dir);
}

bool run_rehearse_is_wanted(const struct config *config)
{
    struct stat is;
    char dir[4200];
    folder_of(config, dir);
    return lstat(dir, &is) == 0 && S_ISDIR(is.st_mode);
}

static void on_signal(int number)
{
    if (number != SIGHUP)
        _exit(0); /* what it has made of the file at hand is swept at the next start */
    is_reload = 1;
}

/* ---- one file ---- */

static bool is_verdict(const char *name)
{
    return slice_ends_nocase(slice_of(name), SLICE(".verdict.json")) || slice_ends_nocase(slice_of(name), SLICE(".verdict.txt"));
}

static void publish(const struct role_state *state, const char *name, const char *end, struct slice bytes)
{
    char file[2 * FOLDER_NAME_SIZE];
    struct error error;
    (void)snprintf(file, sizeof file, "%s%s", name, end);
    if (!file_publish(state->fd, file, bytes, FILE_NO_SYNC, &error))
        (void)command_fail("run", 0, "rehearse: %s", error.text);
    else if (fchmodat(state->fd, file, 0644, 0) != 0) /* Z4 */
        (void)command_fail("run", 0, "rehearse: %s: %m", file);
}

static void tell(const struct role_state *state, const char *name, const json_t *verdict)
{
    struct buf words = {0};
    char *json = json_dumps(verdict, JSON_COMPACT);
    rehearsal_words(verdict, &words);
    publish(state, name, ".verdict.txt", buf_slice(&words));
    if (json)
        publish(state, name, ".verdict.json", slice_of(json)); /* last: who waits for it finds both */
    free(json);
    buf_finish(&words);
}

/* Whether a verdict is newer than the file. */
static bool is_done(const struct role_state *state, const char *name, const struct stat *is)
{
    char file[2 * FOLDER_NAME_SIZE];
    struct stat verdict;
    (void)snprintf(file, sizeof file, "%s.verdict.json", name);
    return fstatat(state->fd, file, &verdict, AT_SYMLINK_NOFOLLOW) == 0
           && (verdict.st_mtim.tv_sec > is->st_mtim.tv_sec
               || (verdict.st_mtim.tv_sec == is->st_mtim.tv_sec && verdict.st_mtim.tv_nsec >= is->st_mtim.tv_nsec));
}

static void rehearse(const struct role_state *state, const struct watch_found *found)
{
    struct stat is;
    struct error error = {{0}};
    if (folder_leaves_alone(found->name) || is_verdict(found->name))
        return;
    int fd = openat(state->fd, found->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &is) != 0 || !S_ISREG(is.st_mode) || is.st_nlink != 1 || is_done(state, found->name, &is)) {
        if (fd >= 0)
            close(fd);
        return;
    }
    json_t *verdict = rehearsal_run(&state->parts, fd, found->name, &error);
    if (!verdict)
        verdict = json_pack("{s:s, s:s, s:s}", "file", found->name, "verdict", "no answer", "reason", error.text);
    tell(state, found->name, verdict);
    json_decref(verdict);
    close(fd);
}

/* ---- the role ---- */

static int serve(const struct role_state *state, const struct command_options *options, struct error *error)
{
    struct watch_found found;
    struct watch *watch = watch_open(state->parts.config->pickup.scan_ms);
    if (!watch_add(watch, state->dir, NULL, false, error)) {
        watch_close(&watch);
        return command_fail("run", EX_CONFIG, "rehearse: %s", error->text);
    }
    for (;;) {
        struct pollfd watched = {.fd = watch_fd(watch), .events = POLLIN};
        (void)poll(&watched, 1, watch_wait_ms(watch));
        while (!is_reload && watch_next(watch, &found))
            rehearse(state, &found);
        if (is_reload && command_config_is_fine(options))
            break;
        is_reload = 0;
    }
    watch_close(&watch);
    return ROLE_RELOAD;
}

static void watch_signals(void)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
    struct sigaction action = {.sa_handler = on_signal};
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        (void)sigaction(numbers[i], &action, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
}

int run_rehearse_main(const struct command_options *options)
{
    struct config *config = command_config(options);
    struct error error = {{0}};
    struct role_state state = {.fd = -1};
    int code = EX_CONFIG;
    watch_signals();
    (void)umask(027);
    link_leave(&options->link);
    link_leave(&options->pam_link);
    folder_of(config, state.dir);
    struct signer *signer = signer_open(config, &error); /* while it may still read what is root's alone */
    struct secrets *secrets = signer ? secrets_open(config, &error) : NULL;
    bool is_ready = secrets && identity_become(config, &error) && confine_rehearsal(config, state.dir, &error)
                    && (state.fd = file_open_folder(state.dir, &error)) >= 0;
    if (is_ready) {
        state.parts = (struct rehearsal_parts){config, NULL, signer, secrets, state.dir, TIMEOUT_MS};
        rehearsal_sweep(state.dir);
        code = serve(&state, options, &error);
    } else {
        (void)command_fail("run", 0, "rehearse: %s", error.text);
    }
    if (state.fd >= 0)
        close(state.fd);
    secrets_close(&secrets);
    signer_close(&signer);
    config_destroy(&config);
    return code;
}
