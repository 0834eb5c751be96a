#include "os/loop.h"

#include <event2/event.h>
#include <event2/thread.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

static void on_fatal(int code)
{
    (void)code;
    static const char text[] = "mailroot: the event loop can't go on\n";
    (void)!write(STDERR_FILENO, text, sizeof text - 1); /* nothing left to do if this fails */
    _exit(EX_TEMPFAIL);
}

static void on_log(int severity, const char *text)
{
    if (severity >= EVENT_LOG_WARN)
        (void)fprintf(stderr, "mailroot: libevent: %s\n", text);
}

struct event_base *loop_create(struct error *error)
{
    event_set_fatal_callback(on_fatal);
    event_set_log_callback(on_log);
    struct event_base *base = evthread_use_pthreads() == 0 ? event_base_new() : NULL;
    if (!base)
        (void)error_set(error, "no event loop");
    return base;
}

bool loop_run(struct event_base *base, struct error *error)
{
    return event_base_dispatch(base) >= 0 || error_set(error, "the event loop failed");
}
