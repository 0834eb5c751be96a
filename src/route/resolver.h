/* resolver: who answers the router's questions: libunbound, or a script in its place (lab/). */
#ifndef MR_ROUTE_RESOLVER_H
#define MR_ROUTE_RESOLVER_H

#include <stdbool.h>
#include <unbound.h>

struct resolver {
    /* `fn` gets the answer on the loop, never before this returns; it frees it by ub_resolve_free(). False: it can't be asked. */
    bool (*ask)(void *arg, const char *name, int type, ub_callback_type fn, void *fn_arg, int *ret_id);
    void (*cancel)(void *arg, int id); /* `fn` is not called any more */
    void *arg;
};

#endif
