/* config: every setting, checked, as typed values.
 *
 * Read from a file (config/parse.h), then the environment, then -o key=value. The environment's names: MAILROOT_ and the key in upper
 * case with "_" for "." (MAILROOT_DNS_SERVERS="127.0.0.1:53,…"). The table in keys.c is the only list of keys: name,
 * type, range, default.
 * Units: durations are milliseconds ("5m", "1h30m", "250ms"; a bare number is refused), sizes are octets ("10MB" =
 * 10*1024*1024, "64KB", plain numbers are octets). A mistake says file, line, key, what stands there and what is accepted;
 * an unknown key names the nearest one. All mistakes are reported, not only the first.
 * A struct config is immutable once loaded; reload makes a new one. */
#ifndef MR_CONFIG_CONFIG_H
#define MR_CONFIG_CONFIG_H

#include "base/buf.h"
#include "base/error.h"

enum config_dots { CONFIG_DOTS_AUTO, CONFIG_DOTS_NEVER, CONFIG_DOTS_ALWAYS };
enum config_tls { CONFIG_TLS_NEVER, CONFIG_TLS_MAY, CONFIG_TLS_MUST, CONFIG_TLS_VERIFY, CONFIG_TLS_FINGERPRINT };
enum config_deliver { CONFIG_DELIVER_SMTP, CONFIG_DELIVER_DROP, CONFIG_DELIVER_LMTP, CONFIG_DELIVER_MAILDIR };
enum config_dialect { CONFIG_DIALECT_AUTO, CONFIG_DIALECT_PLAIN, CONFIG_DIALECT_BSMTP, CONFIG_DIALECT_RAW, CONFIG_DIALECT_MAILRELAY, CONFIG_DIALECT_MBOX };
enum config_implicit { CONFIG_IMPLICIT_AUTO, CONFIG_IMPLICIT_NO, CONFIG_IMPLICIT_YES }; /* auto: on port 465 */
enum config_service { CONFIG_SERVICE_NONE, CONFIG_SERVICE_M365, CONFIG_SERVICE_GOOGLE, CONFIG_SERVICE_OTHER };
enum config_milter { CONFIG_MILTER_TEMPFAIL, CONFIG_MILTER_ACCEPT };
enum config_check { CONFIG_CHECK_OFF, CONFIG_CHECK_RECORD, CONFIG_CHECK_ENFORCE };
enum config_unknown { CONFIG_UNKNOWN_RETRY, CONFIG_UNKNOWN_HOLD };

enum { CONFIG_RATES_MAX = 4 };
struct config_rate { int count; int64_t span_ms; };
struct config_rates { struct config_rate items[CONFIG_RATES_MAX]; size_t count; }; /* all of them count */
struct config_warmup { int *messages; size_t count; }; /* of day 1, 2… */

struct config_schedule {
    int64_t retry_ms[4];      /* first, second, third, subsequent */
    int64_t delay_notice_ms;  /* 0 = none */
    int64_t expire_ms;
    int jitter_percent;
};

struct config_list { char **items; size_t count; };

struct config_oauth {         /* a route's tokens (relay/oauth.h) */
    int service;              /* enum config_service */
    char *tenant, *client_id, *client_secret_file, *token_file, *ca_file;
    char *scope, *token_url, *device_url, *authorize_url; /* NULL: the service's */
};

struct config_route {         /* route "example.com" { … }; "*.example.com" its sub-domains; "*" all others */
    char *pattern;            /* lower case, A-labels */
    struct config_list hosts; /* "host", "host:port", "[ip]:port"; empty = MX as usual. In order of preference */
    int port;                 /* 0 = delivery.port; 24 for LMTP */
    int deliver;              /* enum config_deliver; hosts of LMTP may be "unix:/path" */
    char *drop_dir;           /* absolute when complete; NULL: Drop in root */
    char *maildir;            /* absolute, with %u (local part) and %d (domain) */
    bool is_direct_first;     /* try MX first, then hosts (IIS: attempt direct delivery) */
    int tls;                  /* enum config_tls, -1 = delivery.tls; with a user -1 = verify, for its hosts */
    int implicit_tls;         /* enum config_implicit: TLS from the first octet */
    char *user;               /* AUTH at its hosts; NULL = none */
    char *password_file;      /* or "credential:NAME" (config/secrets.h) */
    struct config_list auth_mechanisms; /* capitals; empty = all that fit */
    int64_t auth_retry_ms;    /* how long a route rests that was refused */
    struct config_oauth oauth;
    struct config_list fingerprints; /* SHA-256 of a certificate or its key, hex: tls = fingerprint */
    bool has_schedule;
    struct config_schedule schedule;
    int connections_max;      /* 0 = delivery.connections_per_site */
    int messages_per_connection; /* 0 = as delivery */
    int dkim_signatures;      /* at most so many of ours are sent there; 0 = all */
    struct config_rates rates; /* of a site's messages; none = delivery.rate */
    bool is_etrn;             /* its mail waits until it is asked for (RFC 1985) */
    struct config_list etrn_clients; /* who may ask: networks, "user:NAME"; empty: whoever may relay */
    char *etrn_queue;         /* ETRN #NAME asks for all routes with this one; NULL: none */
    int64_t etrn_interval_ms; /* goes unasked this often as well; 0 = never */
};

struct config_source {        /* source "name" { … }: where mail of some senders comes from */
    char *name;
    struct config_list addresses; /* one or more a family; the first of each is used */
    struct config_list senders;   /* domains of envelope senders, "*.example.com", "*"; empty: only of folders that name it */
    char *helo;               /* NULL = delivery.helo */
    int connections_max;      /* in all; 0 = no limit */
    int site_connections_max; /* to one site; 0 = as delivery or the route */
    struct config_rates rates, site_rates; /* in all; of one site: none = as delivery or the route */
    struct config_warmup warmup; /* messages a day to one site, from the first day on */
};

struct config_form {          /* form "name" { … }: an endpoint /forms/NAME of the web process */
    char *name;
    char *to;                 /* addresses */
    char *subject, *text;     /* {field} is what was typed there, {fields} all of it; NULL: the form's name, all fields */
    char *reply_to;           /* the field with the visitor's address; NULL = none */
    char *redirect;           /* a path of the site; NULL = a page of ours */
    char *honeypot;           /* a field that must stay empty; NULL = none */
    char *auto_answer, *auto_subject; /* to the visitor; NULL = none */
    struct config_list required, origins, file_types;
    int files_max;
    int work_bits;            /* proof of work: zero bits wanted; 0 = none */
    bool needs_token;
    int64_t least_ms;         /* from the token to the post */
};

struct config_hook {          /* hook "name" { … }: who is told of events over HTTP (outcome/webhook.h) */
    char *name;
    char *url, *secret_file;
    char *ca_file;            /* NULL: the system's */
    struct config_list events; /* empty: the outcomes */
    int64_t timeout_ms, retry_first_ms, retry_longest_ms, give_up_ms;
    int parallel;             /* requests at once */
};

struct config_dkim {          /* dkim "example.com" { … } */
    char *domain;             /* A-labels */
    struct config_list keys;  /* "selector:/file" */
    bool is_subdomains;       /* signs for what is below it, too */
};

struct config {
    char *file;               /* absent: embedded defaults */
    char *root;               /* the Mailroot folder, absolute */
    char *user;               /* becomes this when started as root */
    char *hostname;           /* HELO, Received, Message-ID, DSNs; default: the machine's FQDN */
    char *default_domain;     /* completes bare local names; default: hostname */
    char *default_sender;     /* NULL: a file without sender is refused */
    char *store;              /* postgresql://…: the queue is shared by nodes; NULL: the embedded one */
    char *node;               /* this node's name; default: the machine's */
    bool is_sandboxed;
    int64_t shutdown_ms;      /* SIGTERM: how long what is in flight may take */
    struct {
        char *password_file;         /* of the database; or "credential:NAME"; NULL: as libpq finds it */
        int64_t lease_ms, poll_ms, timeout_ms;
    } cluster;
    struct { char *dir; int64_t scan_ms, settle_ms; int dots, x_lines, dialect; bool is_x_lines_anywhere; int batch_max, once; int64_t once_ms; } pickup;
    struct { uint64_t message_size, header_size, content_memory; int header_count, recipients, hops, active; } limits;
    struct { struct config_schedule schedule; int64_t null_expire_ms; int unknown; bool is_volatile; } queue;
    struct {
        struct config_list servers;  /* "127.0.0.1:5353", "[::1]:53"; empty = resolv.conf */
        int64_t timeout_ms;
        bool is_private_allowed;     /* MX may be loopback, private, link-local… (dns.allow_private) */
        bool is_ipv6, is_ipv4;
        char *trust_anchor;          /* file; NULL = none ("none", or Debian's is not there) */
        bool is_anchor_standard;     /* nobody named it: it is used where the resolver lets DNSSEC through (route/dns.h D3) */
        struct config_list hosts;    /* "name=address" pairs, before DNS (dns.hosts { name = address }) */
    } dns;
    struct {
        int port, connections_max, connections_per_site, messages_per_connection, recipients_per_message;
        struct config_list sources;  /* addresses to bind to, one per family used */
        char *helo;                  /* NULL = hostname */
        int tls;
        struct config_list fingerprints;
        bool is_dane;
        int tls_oldest;              /* of what nothing demands: 0 = TLS 1.0 … 3 = TLS 1.3 */
        char *tls_ca_file, *tls_certificate, *tls_key; /* NULL: the system's; none; in the certificate's file */
        bool is_chunking, is_pipelining;
        int64_t idle_ms;             /* how long an unused connection is kept */
        struct config_rates rates;   /* of each site's messages: "10/1s, 1000/1h" */
        bool is_tuned;               /* limits follow what sites answer (relay/pace.h) */
        int64_t tune_interval_ms;
        int64_t dial_ms;             /* then the host's next address is dialled, too (RFC 8305) */
        char *replies_file;          /* rules of the operator's own (config/replies.h); NULL: none */
        struct { int64_t connect, greeting, ehlo, mail, rcpt, data, block, final, quit, tls; } timeout_ms;
    } delivery;
    struct {
        struct config_list listen;   /* "127.0.0.1:25", "[::1]:587/starttls/auth", ":465/tls", "systemd"; empty = no listener */
        struct config_list domains;  /* mail for these is taken from anybody; "*.example.com" their sub-domains */
        struct config_list relay_networks, allow, deny, xclient, proxy, bare_lf; /* "10.0.0.0/8" (smtpd/policy.h) */
        char *users;                 /* file of name:hash lines; NULL = none */
        char *pam;                   /* service that judges other users' passwords; NULL = none. Neither: no AUTH */
        char *tls_cert, *tls_key;    /* PEM files; NULL = no TLS; key NULL = in the same file */
        bool is_open_relay;          /* relay_networks may be everybody */
        bool is_auth_in_clear;       /* AUTH without TLS, from loopback alone */
        int connections_max, connections_per_client, connections_per_minute, messages_per_minute;
        int messages_per_connection, recipients, errors, writers;
        uint64_t session_size;       /* octets of a connection; 0 = no limit */
        int64_t command_ms, data_ms, session_ms, greet_pause_ms, tarpit_ms;
        int64_t hold_ms;             /* FUTURERELEASE: the longest; 0 = not offered */
        struct {                     /* what is found out about mail from elsewhere; enum config_check */
            int iprev, spf, dkim, dmarc, arc;
            bool is_for_all;         /* of those who may relay, too */
            char *authserv_id;       /* NULL: hostname */
            char *arc_seal;          /* a dkim section's domain; NULL: nothing is sealed */
            int64_t timeout_ms;
            uint64_t memory;         /* octets of all messages that are being looked at */
        } checks;
        struct { struct config_list sockets; int failure; int64_t timeout_ms; } milter; /* smtpd/filter.h; enum config_milter */
    } smtp;
    struct { bool is_on; char *ca_file; int port; int64_t timeout_ms; } mta_sts;
    struct { bool is_on; char *from, *organization, *contact; int64_t delay_ms; } tlsrpt; /* reports of TLS, RFC 8460 */
    struct { char *copy_to; char *from; uint64_t returned_size; } bounce;
    struct {                         /* config/return_path.h */
        struct config_list ours, verp;
        char *masquerade_domain, *srs_domain; /* NULL: none */
        struct config_list secret_files;
        int64_t srs_max_age_ms;
    } sender;
    struct { struct config_list senders, recipients; } rewrite; /* "a@b = c@d", "@b = @d" */
    struct { bool is_on; int64_t expire_ms; } suppress; /* hard bounces feed the list (outcome/suppressed.h) */
    struct { char *file; bool is_stdout; uint64_t rotate_size; int keep; } events; /* file "" = none */
    struct {                         /* traces (outcome/traces.h) */
        char *url;                   /* NULL: none are told */
        char *headers_file, *ca_file;
        char *service_name;
        bool has_addresses;
        int64_t interval_ms, timeout_ms;
    } otlp;
    struct { bool is_on; char *dir; } receipts;
    struct {
        char *dir;                   /* "" or NULL: no W3C log */
        int period, format;          /* enum w3c_period, enum w3c_format */
        uint64_t rotate_size;
        struct config_list fields;   /* empty: IIS's usual ones */
        bool is_dialogs;             /* the listener's commands, a line each */
    } w3c;
    struct {
        struct config_list domains;  /* mail for them stays here: a route of their own, else Drop */
        char *alias_file;            /* NULL: none */
    } local;
    struct replies *replies;         /* what servers' refusals mean; never NULL once loaded */
    struct aliases *aliases;         /* of alias_file (message/aliases.h); NULL: none */
    struct {                  /* the web process: forms, admin page, API */
        bool is_on, is_admin;
        char *listen;                /* "address:port" */
        char *pages;                 /* a site's folder; NULL = none */
        char *results;               /* where results files of forms go */
        char *from;                  /* of forms' mail; NULL = forms@default_domain */
        char *token_file;            /* the admin page's */
        char *certificate, *key;     /* PEM; NULL = no TLS */
        struct config_list hosts, admin_hosts, proxies, tokens;
        uint64_t body_size;
        int posts_per_minute, connections;
        int64_t timeout_ms;          /* a request's first to last octet */
    } web;
    struct config_form *forms;
    size_t form_count;
    struct config_hook *hooks;
    size_t hook_count;
    struct config_dkim *dkim;        /* sections dkim "domain" { … }; used by config/signer.h */
    size_t dkim_count;
    struct config_source *sources;   /* sections source "name" */
    size_t source_count;
    struct config_route *routes;
    size_t route_count;
};

/* `file` NULL: /etc/mailroot/mailroot.conf if it exists, else the embedded defaults. `settings` are -o arguments.
 * On mistakes NULL, and `report` holds one line for each. Warnings go there too when it succeeds. */
MUST_USE struct config *config_load(const char *file, const char *const *settings, size_t setting_count,
                                    struct buf *report);
void config_destroy(struct config **config);
/* web.listen as a socket's address; false if it is none. */
struct sockaddr_storage;
MUST_USE bool config_web_address(const struct config *config, struct sockaddr_storage *ret_address, unsigned *ret_size);
/* The route for a domain: exact, then the longest "*." suffix, then "*"; NULL if none. */
const struct config_route *config_route_find(const struct config *config, struct slice domain);
/* Whether mail of that sender's domain ("": a notice) may leave from there: 0 = not, 1 = as anybody's, 2 = it is named. */
int config_source_fits(const struct config_source *source, struct slice sender_domain);
/* Whether mail for the domain is handed over here (Drop, Maildir, LMTP): aliases count there. */
bool config_is_local(const struct config *config, struct slice domain);
/* Whether it authenticates at its hosts. */
static inline bool config_route_has_login(const struct config_route *route) { return route && (route->user || route->auth_mechanisms.count); }
/* Whether somebody is told of traces. */
static inline bool config_has_traces(const struct config *config) { return config->otlp.url && config->otlp.url[0]; }
/* Every key with its default, as a config file. */
void config_print_defaults(struct buf *out);

#endif
