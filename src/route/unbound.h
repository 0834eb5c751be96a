/* unbound: the resolver that is libunbound, and the watch over whether the name server passes DNSSEC signatures on (dns.h D3).
 * V1  nothing waits for the name server at the start: the root's NS is asked for in the background, again after 5 s, 10 s, … 60 s until an
 *     answer tells. What is learned holds for the process
 * V2  until then a bogus answer may be the server's doing: it is held back for as long as a probe takes (3 s at most), and asked anew if
 *     the server turns out so. No answer to the probe: it is bogus
 * V3  when the server turns out to take signatures away, libunbound is set up anew without the anchor, and what was asked and not yet
 *     answered is asked there: whoever asked notices nothing
 * All calls, and all callbacks, from the loop's thread. */
#ifndef MR_ROUTE_UNBOUND_H
#define MR_ROUTE_UNBOUND_H

#include "config/config.h"
#include "route/resolver.h"

struct event_base;
struct unbound;
typedef void unbound_problem_fn(void *arg, const char *problem);

/* The config has to live as long. */
MUST_USE struct unbound *unbound_create(struct event_base *base, const struct config *config, struct error *error);
void unbound_destroy(struct unbound **unbound); /* callbacks don't run any more */
/* `fn` is told dns_problem(), at once or when it is found. */
void unbound_watch(struct unbound *unbound, unbound_problem_fn *fn, void *arg);
struct resolver unbound_resolver(struct unbound *unbound);

#endif
