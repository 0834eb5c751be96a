/* simulate: days of mail with faults, drawn from seeds, in a process each; what must never happen is looked for (ledger.h).
 *
 *   simulate [--seeds N] [--from SEED] [--seconds S] [--defect NAME] [--sharpness] [--json]
 *   simulate --seed SEED [--scenario | --events]      one seed: its scenario for `mailroot lab`, its events, or what is wrong
 *
 * The last line is one JSON object. Every tenth seed is played twice: its events must be the same, byte for byte (`repeated`). */
#include "defects.h"
#include "ledger.h"

#include "base/mem.h"
#include "lab/lab.h"
#include "os/cores.h"
#include "os/file.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

enum { WORKERS_MAX = 16, TWICE_EVERY = 10, SHARPNESS_SEEDS = 40, FINDING_LINES_MAX = 12, CPU_SECONDS_MAX = 60 };

struct options { uint64_t first, count, seconds; bool shows_scenario, shows_events; };

/* What a seed's process says through its pipe, the findings behind it. */
struct outcome { struct ledger_counts counts; uint64_t digest; size_t findings_size; };

struct run { struct ledger *ledger; struct lab *lab; uint64_t digest; size_t left; bool shows_events; };

/* ---- one seed, in its process ---- */

static void on_event(void *arg, const json_t *event, int64_t at_ms)
{
    struct run *run = arg;
    char *text = json_dumps(event, JSON_COMPACT);
    for (const char *c = text; *c; c++) /* FNV-1a */
        run->digest = (run->digest ^ (unsigned char)*c) * 0x100000001B3U;
    if (run->shows_events)
        printf("%s\n", text);
    free(text);
    ledger_event(run->ledger, event, at_ms);
    if (ledger_has_enough(run->ledger))
        lab_end(run->lab);
}

static bool count_left(void *arg, const struct store_message *message, const struct store_recipient *recipients, size_t count)
{
    (void)message;
    (void)recipients;
    (void)count;
    ((struct run *)arg)->left++;
    return true;
}

static bool play(struct run *run, const struct scenario *scenario, const char *dir, struct buf *problem)
{
    struct error error;
    const struct lab_parts parts = {.scenario = scenario, .dir = dir, .event = on_event, .arg = run};
    struct lab *lab = run->lab = lab_open(&parts, problem);
    if (!lab)
        return false;
    ledger_config(run->ledger, lab_config(lab));
    bool is_played = lab_run(lab, &error) && lab_left(lab, count_left, run, &error);
    if (!is_played)
        buf_printf(problem, "%s\n", error.text);
    lab_close(&lab);
    return is_played;
}

static struct outcome play_seed(const struct options *options, uint64_t seed, const char *dir, struct buf *findings)
{
    struct world world;
    struct outcome outcome = {.digest = 0};
    world_make(seed, &world);
    struct run run = {.ledger = ledger_create(&world), .digest = 0xCBF29CE484222325U, .shows_events = options->shows_events};
    struct scenario *scenario = scenario_read(buf_slice(&world.scenario), "seed", findings);
    if (scenario && play(&run, scenario, dir, findings)) {
        const char *found = ledger_end(run.ledger, run.left, &outcome.counts);
        if (found)
            buf_append_text(findings, found);
    } else if (findings->size == 0) {
        buf_append_text(findings, "it can't be played\n");
    }
    outcome.digest = run.digest;
    outcome.findings_size = findings->size;
    scenario_destroy(&scenario);
    ledger_destroy(&run.ledger);
    world_finish(&world);
    return outcome;
}

/* ---- seeds side by side ---- */

struct worker { pid_t pid; int fd; uint64_t seed; char dir[256]; };

static bool begin(struct worker *worker, const struct options *options, uint64_t seed)
{
    struct error error;
    int pipe_fds[2];
    if (!file_make_temporary("mailroot-simulate", worker->dir, sizeof worker->dir, &error) || pipe(pipe_fds) != 0) {
        fprintf(stderr, "simulate: %s\n", error.text);
        return false;
    }
    (void)fflush(stdout);
    worker->seed = seed;
    worker->pid = fork();
    if (worker->pid == 0) {
        struct buf findings = {0};
        const struct rlimit limit = {CPU_SECONDS_MAX, CPU_SECONDS_MAX};
        close(pipe_fds[0]);
        (void)setrlimit(RLIMIT_CPU, &limit); /* going on for ever is a finding, too */
        struct outcome outcome = play_seed(options, seed, worker->dir, &findings);
        bool is_told = file_write_all(pipe_fds[1], slice_make((const char *)&outcome, sizeof outcome), &error)
                       && file_write_all(pipe_fds[1], buf_slice(&findings), &error);
        buf_finish(&findings);
        exit(is_told ? EX_OK : EX_IOERR);
    }
    close(pipe_fds[1]);
    worker->fd = pipe_fds[0];
    return worker->pid > 0;
}

/* Findings of a seed whose process is over; its outcome. */
static struct outcome end(struct worker *worker, struct buf *findings)
{
    struct outcome outcome = {.digest = 0};
    struct buf said = {0};
    ssize_t got;
    int status = 0;
    while ((got = read(worker->fd, buf_reserve(&said, 4096), 4096)) > 0 || (got < 0 && errno == EINTR))
        said.size += got > 0 ? (size_t)got : 0;
    (void)waitpid(worker->pid, &status, 0);
    if (said.size >= sizeof outcome) {
        memcpy(&outcome, said.data, sizeof outcome);
        buf_append(findings, slice_from(buf_slice(&said), sizeof outcome));
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        buf_printf(findings, "its process ended with %s %d\n", WIFSIGNALED(status) ? "signal" : "code",
                   WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    close(worker->fd);
    buf_finish(&said);
    file_remove_tree(worker->dir);
    *worker = (struct worker){.pid = 0};
    return outcome;
}

static size_t wait_for_one(const struct worker *workers, size_t count)
{
    struct pollfd watched[WORKERS_MAX];
    for (size_t i = 0; i < count; i++)
        watched[i] = (struct pollfd){.fd = workers[i].pid ? workers[i].fd : -1, .events = POLLIN};
    while (poll(watched, (nfds_t)count, -1) < 0)
        ;
    size_t i = 0;
    while (i + 1 < count && !watched[i].revents)
        i++;
    return i;
}

struct total { struct ledger_counts counts; uint64_t seeds, twice, seconds, bad_seeds; struct buf findings; };

static int64_t now_s(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

static void add(struct total *total, const struct outcome *outcome)
{
    const uint64_t *from = (const uint64_t *)&outcome->counts;
    uint64_t *to = (uint64_t *)&total->counts;
    for (size_t i = 0; i < sizeof total->counts / sizeof *to; i++)
        to[i] += from[i];
    total->seeds++;
}

static void tell(struct total *total, uint64_t seed, const struct buf *findings)
{
    total->bad_seeds++;
    buf_printf(&total->findings, "seed %llu:\n%.*s", (unsigned long long)seed, SLICE_FMT(buf_slice(findings)));
}

/* A seed once more, for its digest. */
static void play_again(struct total *total, const struct options *options, uint64_t seed, uint64_t digest)
{
    struct worker worker = {.pid = 0};
    struct buf findings = {0};
    if (begin(&worker, options, seed) && end(&worker, &findings).digest != digest) {
        buf_clear(&findings);
        buf_append_text(&findings, "played twice, its events are not the same\n");
        tell(total, seed, &findings);
    }
    total->twice++;
    buf_finish(&findings);
}

/* `until_first`: enough when one seed has found something. */
static void play_all(struct total *total, const struct options *options, bool until_first)
{
    struct worker workers[WORKERS_MAX] = {{.pid = 0}};
    size_t cores = (size_t)cores_usable(), places = cores > WORKERS_MAX ? WORKERS_MAX : cores, busy = 0;
    uint64_t next = options->first, last = options->first + options->count;
    int64_t begun_s = now_s();
    for (;;) {
        bool is_over = (options->seconds && now_s() - begun_s >= (int64_t)options->seconds) || (until_first && total->bad_seeds);
        for (size_t i = 0; i < places && next < last && !is_over; i++)
            if (!workers[i].pid && begin(&workers[i], options, next)) {
                next++;
                busy++;
            }
        if (busy == 0)
            break;
        size_t done = wait_for_one(workers, places);
        struct buf findings = {0};
        uint64_t seed = workers[done].seed;
        struct outcome outcome = end(&workers[done], &findings);
        busy--;
        add(total, &outcome);
        if (findings.size)
            tell(total, seed, &findings);
        else if (seed % TWICE_EVERY == 0 && !until_first)
            play_again(total, options, seed, outcome.digest);
        buf_finish(&findings);
    }
    total->seconds = (uint64_t)(now_s() - begun_s);
}

/* ---- what is said ---- */

static json_t *counts_json(const struct total *total)
{
    const struct ledger_counts *counts = &total->counts;
#define NUMBER(value) (json_int_t)(value)
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "seeds", NUMBER(total->seeds), "repeated",
                     NUMBER(total->twice), "messages", NUMBER(counts->messages), "recipients", NUMBER(counts->recipients), "events", NUMBER(counts->events), "arrivals",
                     NUMBER(counts->arrivals), "delivered", NUMBER(counts->delivered), "returned", NUMBER(counts->returned), "lost_answers",
                     NUMBER(counts->lost_answers), "sent_again", NUMBER(counts->repeated), "kills", NUMBER(counts->kills), "seconds",
                     NUMBER(total->seconds), "findings", NUMBER(total->bad_seeds));
#undef NUMBER
}

static void say(const json_t *json)
{
    char *text = json_dumps(json, 0);
    puts(text);
    free(text);
}

static void say_findings(struct buf *findings)
{
    struct slice rest = buf_slice(findings);
    for (int i = 0; rest.size && i < FINDING_LINES_MAX; i++) {
        struct slice line = slice_cut(&rest, '\n');
        fprintf(stderr, "%.*s\n", SLICE_FMT(line));
    }
}

/* Which of the seeded mistakes are found, and after how many seeds; 0: not. */
static json_t *sharpness(const struct options *given, size_t *ret_missed)
{
    json_t *by_defect = json_object();
    size_t count = 0;
    const char *name;
    for (*ret_missed = 0; (name = defect_name(count)) != NULL; count++) {
        struct options options = *given;
        struct total total = {.seeds = 0};
        options.count = SHARPNESS_SEEDS;
        options.seconds = 0;
        (void)defect_choose(name); /* the seeds' processes inherit it */
        play_all(&total, &options, true);
        *ret_missed += total.bad_seeds == 0;
        (void)json_object_set_new(by_defect, name, json_integer(total.bad_seeds ? (json_int_t)total.seeds : 0));
        buf_finish(&total.findings);
    }
    return json_pack("{s:I, s:I, s:o}", "defects", (json_int_t)count, "caught", (json_int_t)(count - *ret_missed), "by_defect", by_defect);
}

static int show_scenario(uint64_t seed)
{
    struct world world;
    world_make(seed, &world);
    (void)fwrite(world.scenario.data, 1, world.scenario.size, stdout);
    world_finish(&world);
    return EX_OK;
}

static uint64_t number_of(const char *option, const char *text)
{
    uint64_t number = 0;
    if (text && slice_to_u64(slice_of(text), &number))
        return number;
    fprintf(stderr, "simulate: %s wants a number\n", option);
    exit(EX_USAGE);
}

int main(int argc, char **argv)
{
    struct options options = {.first = 1, .count = 200};
    struct total total = {.seeds = 0};
    bool is_sharp = false;
    size_t missed = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seeds") == 0)
            options.count = number_of(argv[i], argv[i + 1]), i++;
        else if (strcmp(argv[i], "--from") == 0)
            options.first = number_of(argv[i], argv[i + 1]), i++;
        else if (strcmp(argv[i], "--seconds") == 0)
            options.seconds = number_of(argv[i], argv[i + 1]), i++;
        else if (strcmp(argv[i], "--seed") == 0)
            options.first = number_of(argv[i], argv[i + 1]), options.count = 1, i++;
        else if (strcmp(argv[i], "--defect") == 0 && argv[i + 1] && defect_choose(argv[i + 1]))
            i++;
        else if (strcmp(argv[i], "--scenario") == 0)
            options.shows_scenario = true;
        else if (strcmp(argv[i], "--events") == 0)
            options.shows_events = true;
        else if (strcmp(argv[i], "--sharpness") == 0)
            is_sharp = true;
        else if (strcmp(argv[i], "--json") != 0)
            return fprintf(stderr, "simulate: %s: not known\n", argv[i]), EX_USAGE;
    }
    if (options.shows_scenario)
        return show_scenario(options.first);
    play_all(&total, &options, false);
    json_t *json = counts_json(&total);
    if (is_sharp)
        (void)json_object_set_new(json, "sharpness", sharpness(&options, &missed));
    say_findings(&total.findings);
    if (!options.shows_events)
        say(json);
    json_decref(json);
    buf_finish(&total.findings);
    return total.bad_seeds || missed ? 1 : 0;
}
