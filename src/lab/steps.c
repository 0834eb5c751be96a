/* What a scenario does to the relay: restarts, kills, a disk that is full, a clock that is set. */
#include "lab/lab_private.h"

#include "base/mem.h"
#include "os/clock.h"

#include <stdlib.h>

struct doing { struct lab *lab; const struct lab_step *step; struct timer *timer; bool is_begun; };

static void on_finished(void *arg)
{
    ((struct lab *)arg)->is_finished = true;
}

/* As a crash leaves it: what was not committed did not happen, what was connected is cut. The lab's loop starts it anew. */
static void kill_relay(struct lab *lab)
{
    (void)writer_turn(lab->writer, "the relay was killed");
    post_run(lab->post);
    lab->is_finished = true;
}

static void tell(const struct doing *doing, const char *what)
{
    struct lab *lab = doing->lab;
    lab->play.seen(lab->play.seen_arg, json_pack("{s:s, s:s, s:s}", "event", "step", "name", doing->step->name, "does", what));
}

static void begin(struct doing *doing)
{
    struct lab *lab = doing->lab;
    const struct lab_step *step = doing->step;
    switch ((enum lab_deed)step->deed) {
    case LAB_RESTART:
        tell(doing, "the relay is told to start anew");
        relay_finish(lab->relay, on_finished, lab);
        timer_set(lab->limit, lab->config->shutdown_ms);
        break;
    case LAB_KILL:
        tell(doing, "the relay is killed and starts anew");
        kill_relay(lab);
        break;
    case LAB_DISK_FULL:
        tell(doing, "the disk is full");
        lab->failure = "database or disk is full";
        break;
    case LAB_CLOCK:
        tell(doing, step->forward_ms ? "the clock is set forward" : "the clock is set back");
        clock_jump(step->forward_ms - step->back_ms);
        break;
    }
}

static void on_time(void *arg)
{
    struct doing *doing = arg;
    if (!doing->is_begun) {
        doing->is_begun = true;
        begin(doing);
        if (doing->step->deed == LAB_DISK_FULL) {
            timer_set(doing->timer, doing->step->for_ms);
            return;
        }
    } else {
        tell(doing, "the disk has room again");
        doing->lab->failure = NULL;
    }
    doing->lab->left--;
}

void lab_steps_start(struct lab *lab)
{
    const struct scenario *scenario = lab->play.scenario;
    lab->limit = timer_make(lab->base, on_finished, lab);
    lab->doings = mem_alloc((scenario->step_count + 1) * sizeof *lab->doings);
    for (size_t i = 0; i < scenario->step_count; i++) {
        struct doing *doing = &lab->doings[i];
        *doing = (struct doing){.lab = lab, .step = &scenario->steps[i]};
        doing->timer = timer_make(lab->base, on_time, doing);
        timer_set(doing->timer, doing->step->at_ms);
        lab->left++;
    }
}

void lab_steps_end(struct lab *lab)
{
    for (size_t i = 0; lab->doings && i < lab->play.scenario->step_count; i++)
        timer_free(&lab->doings[i].timer);
    timer_free(&lab->limit);
    free(lab->doings);
}
