#include "os/timer.h"

#include "base/check.h"
#include "base/mem.h"
#include "os/clock.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>

struct timer {
    struct event event;       /* not used under a simulated clock */
    timer_fn *fn;
    void *arg;
    bool is_simulated;
    size_t place;             /* in the heap, from 1; 0: not set */
    int64_t due_ms;           /* monotonic */
    uint64_t turn;            /* among those that are due together */
};

/* Simulated ones that are set: a binary heap, the first at 1. The loop's thread only. */
static struct { struct timer **items; size_t count, capacity; uint64_t turns; } heap;

static bool is_before(const struct timer *a, const struct timer *b)
{
    return a->due_ms != b->due_ms ? a->due_ms < b->due_ms : a->turn < b->turn;
}

static void put(struct timer *timer, size_t place)
{
    heap.items[place] = timer;
    timer->place = place;
}

/* To where it belongs, from a place that is free. */
static void sift(struct timer *timer, size_t place)
{
    while (place > 1 && is_before(timer, heap.items[place / 2])) {
        put(heap.items[place / 2], place);
        place /= 2;
    }
    for (size_t child = 2 * place; child <= heap.count; child = 2 * place) {
        if (child < heap.count && is_before(heap.items[child + 1], heap.items[child]))
            child++;
        if (!is_before(heap.items[child], timer))
            break;
        put(heap.items[child], place);
        place = child;
    }
    put(timer, place);
}

static void heap_remove(struct timer *timer)
{
    size_t place = timer->place;
    struct timer *last = heap.items[heap.count--];
    timer->place = 0;
    if (last != timer)
        sift(last, place);
    if (heap.count == 0) {
        free(heap.items);
        heap.items = NULL;
        heap.capacity = 0;
    }
}

static void heap_add(struct timer *timer)
{
    if (heap.count + 1 >= heap.capacity) {
        heap.capacity = heap.capacity ? 2 * heap.capacity : 64;
        heap.items = mem_resize(heap.items, heap.capacity * sizeof *heap.items);
    }
    timer->turn = heap.turns++;
    sift(timer, ++heap.count);
}

static void on_event(evutil_socket_t fd, short what, void *arg)
{
    const struct timer *timer = arg;
    (void)fd;
    (void)what;
    timer->fn(timer->arg);
}

struct timer *timer_make(struct event_base *base, timer_fn *fn, void *arg)
{
    struct timer *timer = mem_alloc(sizeof *timer);
    timer->fn = fn;
    timer->arg = arg;
    timer->is_simulated = clock_is_simulated();
    CHECK(timer->is_simulated || evtimer_assign(&timer->event, base, on_event, timer) == 0);
    return timer;
}

void timer_stop(struct timer *timer)
{
    if (!timer->is_simulated)
        (void)evtimer_del(&timer->event);
    else if (timer->place)
        heap_remove(timer);
}

void timer_free(struct timer **timer)
{
    if (*timer)
        timer_stop(*timer);
    free(*timer);
    *timer = NULL;
}

void timer_set(struct timer *timer, int64_t wait_ms)
{
    if (wait_ms < 0)
        wait_ms = 0;
    if (!timer->is_simulated) {
        struct timeval wait = {wait_ms / 1000, wait_ms % 1000 * 1000};
        (void)evtimer_add(&timer->event, &wait); /* fails for want of memory alone, which ends the process (os/loop.h) */
        return;
    }
    timer_stop(timer);
    timer->due_ms = clock_mono_ms() + wait_ms;
    heap_add(timer);
}

bool timer_is_set(const struct timer *timer)
{
    return timer->is_simulated ? timer->place > 0 : evtimer_pending(&timer->event, NULL) != 0;
}

int64_t timers_next_ms(void)
{
    return heap.count ? heap.items[1]->due_ms : INT64_MAX;
}

bool timers_run(int64_t until_ms)
{
    int64_t next_ms = timers_next_ms(), now_ms = clock_mono_ms();
    if (next_ms == INT64_MAX || next_ms > until_ms)
        return false;
    struct timer *timer = heap.items[1];
    if (next_ms > now_ms)
        clock_advance(next_ms - now_ms);
    heap_remove(timer);
    timer->fn(timer->arg);
    return true;
}
