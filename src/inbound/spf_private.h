/* What the files of the SPF evaluator share.
 *   spf_record.c  the syntax       spf_macro.c  %{…}       spf.c  the evaluation */
#ifndef MR_INBOUND_SPF_PRIVATE_H
#define MR_INBOUND_SPF_PRIVATE_H

#include "inbound/spf.h"

enum { SPF_TERMS_MAX = 300, SPF_ASKING_MAX = 10, SPF_NAMES_MAX = 10, SPF_VOIDS_MAX = 2 };
enum { TYPE_A = 1, TYPE_PTR = 12, TYPE_MX = 15, TYPE_TXT = 16, TYPE_AAAA = 28 };
enum spf_kind { TERM_ALL, TERM_INCLUDE, TERM_A, TERM_MX, TERM_PTR, TERM_IP4, TERM_IP6, TERM_EXISTS };

struct spf_term {
    enum spf_kind kind;
    enum spf_result qualifier;  /* the result if it matches */
    struct slice domain;        /* unexpanded; absent: the current one */
    struct in6_addr address;    /* IP4, IP6; IPv4 mapped */
    unsigned bits4, bits6;
};

struct spf_record { struct spf_term *terms; size_t count; struct slice redirect; };

struct spf_run {
    struct arena *arena;
    const struct spf_query *query;
    struct lookups *lookups;
    struct slice local, sender_domain;
    int asking, voids;
    const char *reason;
    bool is_unsure;             /* a name of PTR could not be looked up */
};

/* NULL, or what is wrong with it. */
const char *spf_record_parse(struct arena *arena, struct slice text, struct spf_record *ret_record);

/* Syntax of a macro-string; of a domain-spec, which must end in a label or a macro (7.1). */
bool spf_macro_check(struct slice text, bool is_domain);
/* False: it waits for DNS (%{p}). */
bool spf_macro_expand(struct spf_run *run, struct slice text, struct slice domain, struct slice *ret_text);

/* Where the client's PTR stands. */
struct slice spf_reverse_name(struct spf_run *run);
bool spf_is_v4(const struct in6_addr *address);
/* The client's names of PTR that lead back to it (5.5), at most 10; false: it waits. */
bool spf_validated_names(struct spf_run *run, struct slice *names, size_t *ret_count);

#endif
