/* dns: libunbound as the config sets it up, and questions asked all at once where nothing else runs meanwhile
 * (commands). Who has a loop asks by route/unbound.h.
 * D1  dns.servers as forwarders, else resolv.conf, else a resolver on this host
 * D2  zones that libunbound would answer by itself ("test.", "home.arpa.") are asked like any other
 * D3  DNSSEC is validated from dns.trust_anchor, which is strict: what can't be validated is bogus. Debian's anchor, which nobody named,
 *     is used only where the resolver passes signatures on: the root's NS is asked for, until a process once had an answer. If it comes
 *     unsigned, all would be bogus and all mail would wait; so nothing is validated then, there is no DANE, and dns_problem() says so.
 *     While no answer comes validation stays on: who can block DNS must not gain clear text by it */
#ifndef MR_ROUTE_DNS_H
#define MR_ROUTE_DNS_H

#include "base/buf.h"
#include "config/config.h"

#include <sys/socket.h>
#include <unbound.h>

enum { DNS_CLASS_IN = 1 };
enum { DNS_A = 1, DNS_NS = 2, DNS_CNAME = 5, DNS_MX = 15, DNS_TXT = 16, DNS_AAAA = 28, DNS_PTR = 12, DNS_TLSA = 52, DNS_NAME_SIZE = 256 };

bool dns_is_validating(const struct config *config);
/* Why DNSSEC is not used though there is an anchor; NULL: it is, or there is none, or it isn't known yet. */
const char *dns_problem(const struct config *config);
/* A context that answers on a thread of its own; ub_ctx_delete() it. NULL with an error. Waits for the probe of D3. */
MUST_USE struct ub_ctx *dns_open(const struct config *config, struct error *error);

/* For who makes the probe itself (route/unbound.h): a context as of what is known; whether a probe would tell something new, and how long
 * to wait for it; what its answer tells, if anything. */
MUST_USE struct ub_ctx *dns_open_unprobed(const struct config *config, struct error *error);
bool dns_is_probe_due(const struct config *config);
int dns_probe_ms(const struct config *config);
void dns_learn(const struct ub_result *root_ns);

struct dns_question {
    char name[DNS_NAME_SIZE];
    int type;
    struct ub_result *result; /* NULL: no answer in time; ub_resolve_free() it */
};

/* Asks all and waits until the last is answered or the time is over. */
void dns_ask(struct ub_ctx *context, struct dns_question *questions, size_t count, int timeout_ms);
/* A name in wire form as text; "" is the root. False if it is none (RFC 1035 3.1). */
MUST_USE bool dns_name_from_wire(const uint8_t *wire, size_t size, char ret_name[DNS_NAME_SIZE]);
/* The name whose PTR tells about the address ("1.2.0.192.in-addr.arpa", RFC 1035 3.5, RFC 3596 2.5). */
void dns_reverse_name(const struct sockaddr *address, char ret_name[DNS_NAME_SIZE]);

/* A TXT record's character-strings, one behind the other (RFC 1035 3.3.14). A length beyond the end is cut. */
void dns_join_strings(const char *data, size_t size, struct buf *out);

#endif
