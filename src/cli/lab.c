/* mailroot lab SCENARIO...: the relay against the servers and names of a scenario, on a clock that jumps (lab/lab.h). Each scenario is played
 * in a process of its own, which can write its folder alone and has no network. */
#include "cli/command.h"
#include "cli/confine.h"

#include "lab/expect.h"
#include "lab/lab.h"
#include "lab/timeline.h"
#include "os/clock.h"
#include "os/file.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOT_AS_EXPECTED = 1 };

struct playing {
    const char *path;
    struct expecting *expecting;
    struct timeline timeline;
    struct buf out;
    size_t left;
    bool is_json, is_quiet;
};

static void put_json(struct buf *out, const json_t *event)
{
    char *text = json_dumps(event, JSON_COMPACT);
    buf_printf(out, "%s\n", text ? text : "{}");
    free(text);
}

static void on_event(void *arg, const json_t *event, int64_t at_ms)
{
    struct playing *playing = arg;
    expecting_event(playing->expecting, event, at_ms);
    if (playing->is_quiet)
        return;
    if (playing->is_json)
        put_json(&playing->out, event);
    else
        timeline_put(&playing->timeline, &playing->out, event, at_ms, clock_wall_ms());
    (void)fwrite(buf_text(&playing->out), 1, playing->out.size, stdout);
    buf_clear(&playing->out);
}

static bool count_left(void *arg, const struct store_message *message, const struct store_recipient *recipients, size_t count)
{
    struct playing *playing = arg;
    (void)message;
    (void)recipients;
    playing->left += count > 0;
    return true;
}

static int conclude(struct playing *playing, const struct scenario *scenario)
{
    struct buf failures = {0};
    size_t failed = expecting_end(playing->expecting, playing->path, &failures);
    timeline_end(&playing->timeline, &playing->out);
    if (playing->is_json) {
        json_t *verdict = json_pack("{s:s, s:s, s:I, s:I, s:I}", "event", "verdict", "scenario", playing->path, "expected",
                                    (json_int_t)scenario->expect_count, "failed", (json_int_t)failed, "left", (json_int_t)playing->left);
        put_json(&playing->out, verdict);
        json_decref(verdict);
    } else {
        buf_printf(&playing->out, "%s: %zu of %zu expectations hold, %zu message%s left in the queue\n", playing->path,
                   scenario->expect_count - failed, scenario->expect_count, playing->left, playing->left == 1 ? "" : "s");
    }
    (void)fwrite(buf_text(&playing->out), 1, playing->out.size, stdout);
    (void)fflush(stdout);
    fputs(buf_text(&failures), stderr);
    buf_finish(&failures);
    return failed ? NOT_AS_EXPECTED : EX_OK;
}

static int play(const struct command_options *options, const struct scenario *scenario, const char *dir, struct playing *playing)
{
    struct buf report = {0};
    struct error error;
    int code = EX_OK;
    playing->expecting = expecting_create(scenario);
    const struct lab_parts parts = {.scenario = scenario, .config_file = options->config_file, .settings = options->settings,
                                    .setting_count = options->setting_count, .dir = dir, .event = on_event, .arg = playing};
    struct lab *lab = lab_open(&parts, &report);
    if (!lab) {
        code = command_fail("lab", EX_CONFIG, "%s: the relay can't be set up:\n%s", playing->path, buf_text(&report));
    } else if (!confine_lab(lab_config(lab), dir, &error) || !lab_run(lab, &error) || !lab_left(lab, count_left, playing, &error)) {
        code = command_fail("lab", EX_OSERR, "%s: %s", playing->path, error.text);
    } else {
        code = conclude(playing, scenario);
    }
    lab_close(&lab);
    expecting_destroy(&playing->expecting);
    buf_finish(&playing->out);
    buf_finish(&report);
    return code;
}

static struct scenario *read_scenario(const char *path)
{
    struct buf text = {0}, report = {0};
    struct error error;
    struct scenario *scenario = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        (void)command_fail("lab", 0, "%s: %m", path);
    else if (!file_read(fd, 1 << 20, &text, &error))
        (void)command_fail("lab", 0, "%s: %s", path, error.text);
    else if (!(scenario = scenario_read(buf_slice(&text), path, &report)))
        fputs(buf_text(&report), stderr);
    if (fd >= 0)
        close(fd);
    buf_finish(&text);
    buf_finish(&report);
    return scenario;
}

static int play_one(const struct command_options *options, const char *path, bool is_quiet)
{
    char dir[4096];
    struct error error;
    int status;
    struct playing playing = {.path = path, .is_json = options->is_json, .is_quiet = is_quiet};
    struct scenario *scenario = read_scenario(path);
    if (!scenario)
        return EX_DATAERR;
    if (!file_make_temporary("mailroot-lab", dir, sizeof dir, &error)) {
        scenario_destroy(&scenario);
        return command_fail("lab", EX_CANTCREAT, "%s", error.text);
    }
    if (scenario->title && !options->is_json && !is_quiet)
        printf("%s\n", scenario->title);
    (void)fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        int code = play(options, scenario, dir, &playing);
        scenario_destroy(&scenario);
        exit(code);
    }
    bool is_ended = child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status);
    int code = is_ended ? WEXITSTATUS(status) : command_fail("lab", EX_SOFTWARE, "%s: its process did not come to its end", path);
    file_remove_tree(dir);
    scenario_destroy(&scenario);
    return code;
}

int command_lab(int argc, char **argv)
{
    struct command_options options;
    bool is_quiet = false;
    int code = EX_OK, first = 1;
    command_parse(&argc, argv, &options);
    if (first < argc && strcmp(argv[first], "--quiet") == 0) {
        is_quiet = true;
        first++;
    }
    for (int i = first; i < argc; i++)
        if (argv[i][0] == '-')
            return command_fail("lab", EX_USAGE, "%s: no such option", argv[i]);
    if (first >= argc)
        return command_fail("lab", EX_USAGE, "a scenario was expected; examples/lab has some");
    for (int i = first; i < argc; i++) {
        int one = play_one(&options, argv[i], is_quiet);
        code = one ? one : code;
    }
    return code;
}
