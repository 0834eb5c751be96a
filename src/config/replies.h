/* replies: what a server's refusal means: rules kept as data, share/replies.conf (built in), after a file of the operator's own.
 *   The form stands in mailroot-replies(5).
 *
 * P1  the first rule that fits counts: the operator's before the built-in ones. None: no class, the code's first digit decides
 * P2  a rule may turn a refusal into a wait, or a wait into a refusal; it never makes a delivery of anything
 * P3  a mistake in the operator's file says file, line and what is accepted there
 * Immutable once parsed; used by any thread. */
#ifndef MR_CONFIG_REPLIES_H
#define MR_CONFIG_REPLIES_H

#include "base/buf.h"
#include "base/error.h"

#include <stdint.h>

enum reply_verdict { REPLY_BY_CODE, REPLY_RETRY, REPLY_FAIL };

struct reply_class {
    char *name;               /* "mailbox-full" */
    char *words;              /* for people: "the recipient's mailbox is full" */
    enum reply_verdict verdict;
    bool is_address_bad;      /* the address will not take mail later either */
    bool is_slow;             /* says that we send too much */
    bool is_other_family;     /* says that IPv6 is not liked */
    int64_t rest_ms;          /* how long the site is left alone; 0: not at all */
};

struct reply_meaning {
    const struct reply_class *class; /* NULL: no rule fits */
    enum reply_verdict verdict;
};

struct replies;
typedef void replies_fault_fn(void *arg, size_t line, const char *text);

/* `own`: the operator's rules, or absent. Mistakes in them go to `fn`, each with its line. */
struct replies *replies_create(struct slice own, replies_fault_fn *fn, void *arg);
void replies_destroy(struct replies **replies);
/* `host`: the MX's name, or absent. `text`: the reply in one line ("550-5.1.1 first second"). */
struct reply_meaning replies_find(const struct replies *replies, struct slice host, int code, const char *status,
                                  struct slice text);

#endif
