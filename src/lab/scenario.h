/* scenario: what a lab is to play, read from a file in the config's own syntax (config/parse.h). docs/lab.md tells it to users.
 *
 *   config { … }                      settings of the relay, as in mailroot.conf
 *   domain "example.org" { … }        what DNS says of it           host "mx1.example.org" { … }  a server, what it answers
 *   dns { … }                         all of DNS                    send "name" { … }             messages
 *   step "name" { … }                 what is done to the relay     expect { … }                  what must come of it
 *
 * Times count from the start, in the config's durations ("1h30m"). Sections domain, host and dns may hold sections
 * during "10m to 2h" { … }: for that time their keys go before the section's own; of several the last one that fits counts.
 * All mistakes are told, each with its line and what is accepted. A struct scenario doesn't change once it is read. */
#ifndef MR_LAB_SCENARIO_H
#define MR_LAB_SCENARIO_H

#include "config/config.h"

enum lab_stage { LAB_CONNECT, LAB_EHLO, LAB_MAIL, LAB_RCPT, LAB_DATA, LAB_MESSAGE, LAB_STAGES };
enum { LAB_UNSAID = -1 };
enum lab_tls { LAB_TLS_GOOD, LAB_TLS_NONE, LAB_TLS_EXPIRED, LAB_TLS_OTHER_NAME, LAB_TLS_UNKNOWN, LAB_TLS_BROKEN, LAB_TLS_KINDS };
enum lab_dns { LAB_DNS_GOOD, LAB_DNS_SERVFAIL, LAB_DNS_REFUSED, LAB_DNS_NXDOMAIN, LAB_DNS_BOGUS, LAB_DNS_SILENT };
enum lab_deed { LAB_RESTART, LAB_KILL, LAB_DISK_FULL, LAB_CLOCK };

struct lab_span { int64_t from_ms, to_ms; }; /* to: not in it any more */

struct lab_phase {               /* a section's own keys, or those of one `during` */
    struct lab_span span;
    int chance;                  /* percent of the times that it counts */
    char *says[LAB_STAGES];      /* a reply, or a word (scenario.c); NULL: not said */
    int64_t delay_ms;            /* before each answer; LAB_UNSAID */
    int tls, dns;                /* enum lab_tls, enum lab_dns; LAB_UNSAID */
};

struct lab_phases { struct lab_phase *items; size_t count; }; /* the first is the section's own */
struct lab_mailbox { char *address, *says; };

struct lab_host {
    char *name;                  /* lower case */
    struct config_list addresses; /* both families */
    struct lab_phases phases;
    struct lab_mailbox *mailboxes;
    size_t mailbox_count;
    int64_t greylist_ms;         /* for how long a stranger is refused; 0: not at all */
    int connections_max;         /* more are turned away; 0: any number */
    struct config_rates rates;   /* messages; more are refused at MAIL */
    char *rate_says;
};

struct lab_domain {
    char *name;
    struct config_list mx;       /* hosts, "20 host", or "." alone: the null MX */
    struct config_list addresses; /* the domain's own */
    struct lab_phases phases;
};

struct lab_send {
    char *name, *from;
    struct config_list to;
    int64_t at_ms, every_ms;
    uint64_t size;
    int count;
};

struct lab_step { char *name; int64_t at_ms, for_ms, forward_ms, back_ms; int deed; };
struct lab_field { char *key, *value; };

struct lab_expect {              /* one event, behind those of the ones before it; or a count */
    char *name;                  /* of a count: the event's */
    size_t line;
    bool is_count;
    int64_t least, most;         /* of a count */
    struct lab_span at;
    char *says;                  /* words of `reply` or `reason`; NULL: any */
    struct lab_field *fields;    /* of the event, as they are to be */
    size_t field_count;
};

struct scenario {
    char *title;                 /* NULL if it has none */
    char **settings;             /* "key=value" */
    size_t setting_count;
    struct lab_domain *domains;
    size_t domain_count;
    struct lab_host *hosts;
    size_t host_count;
    struct lab_phases dns;
    struct lab_send *sends;
    size_t send_count;
    struct lab_step *steps;
    size_t step_count;
    struct lab_expect *expects;
    size_t expect_count;
    int64_t end_ms;              /* it is over then, whatever is left */
    int seed;                    /* of what is left to chance */
};

/* NULL with all mistakes in `report`, a line each, `place` in front. */
MUST_USE struct scenario *scenario_read(struct slice text, const char *place, struct buf *report);
void scenario_destroy(struct scenario **scenario);

#endif
