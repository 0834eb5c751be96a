#include "route/sts.h"

#include "base/buf.h"
#include "base/mem.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/https.h"
#include "os/timer.h"
#include "route/dns.h"
#include "route/resolver.h"
#include "route/route_private.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { DOMAINS_MAX = 20000, FETCH_AGAIN_MS = 5 * 60 * 1000, CHECK_AGAIN_MS = 60 * 1000,
       CHECK_MOST_MS = 3600 * 1000, DAY_MS = 24 * 3600 * 1000 };

struct sts_waiter { sts_fn *fn; void *arg; struct sts_waiter *next; };

struct domain {
    struct sts *sts;
    char *name;
    struct sts_policy *policy;    /* the last one; holds until expires_ms */
    int64_t fetched_ms, expires_ms; /* wall time */
    int64_t fresh_until_ms;       /* monotonic: until then DNS is not asked */
    int64_t fetch_after_ms;       /* monotonic, after a failure */
    char *problem;
    bool is_busy;
    struct sts_waiter *waiters;
    char id[STS_ID_SIZE];         /* of the record seen now */
    int64_t ttl_ms;
    struct question *questions;
    size_t pending;
    struct buf addresses;
    bool has_private;
    struct https_call *call;
    struct timer *timer;
    UT_hash_handle hh;
};

struct question { struct domain *domain; int async_id; struct question *next; };

struct sts {
    struct event_base *base;
    const struct config *config;
    const struct resolver *resolver;
    struct https *https;
    int folder_fd;                /* -1: none */
    bool is_kept;
    struct domain *domains;
};

/* ---- on disk ---- */

static bool is_file_name(const char *name)
{
    if (!name[0] || name[0] == '.')
        return false;
    for (const char *c = name; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("-_.", *c))
            return false;
    return true;
}

static void take_policy(struct domain *domain, struct sts_policy *policy, const char *id, int64_t fetched_ms)
{
    sts_policy_release(&domain->policy);
    domain->policy = policy;
    (void)snprintf(policy->id, sizeof policy->id, "%s", id);
    policy->domain = mem_copy_text(domain->name);
    domain->fetched_ms = fetched_ms;
    domain->expires_ms = fetched_ms + policy->max_age_s * 1000;
}

static void read_back(struct domain *domain)
{
    struct buf text = {0};
    struct error error;
    uint64_t fetched_ms;
    int fd = domain->sts->folder_fd >= 0 && is_file_name(domain->name)
                 ? openat(domain->sts->folder_fd, domain->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
    if (fd < 0)
        return;
    if (file_read(fd, STS_TEXT_SIZE_MAX + 100, &text, &error)) {
        struct slice rest = buf_slice(&text);
        struct slice line = slice_cut(&rest, '\n');
        struct slice id = slice_cut(&line, ' ');
        struct sts_policy *policy =
            id.size < STS_ID_SIZE && slice_to_u64(line, &fetched_ms) && fetched_ms <= INT64_MAX / 2
                ? sts_policy_parse(rest, &error) : NULL;
        char *id_text = slice_copy(id);
        if (policy)
            take_policy(domain, policy, id_text, (int64_t)fetched_ms);
        free(id_text);
    }
    close(fd);
    buf_finish(&text);
}

static void write_down(struct domain *domain)
{
    struct buf text = {0};
    struct error error;
    if (!domain->sts->is_kept || !is_file_name(domain->name))
        return;
    buf_printf(&text, "%s %lld\n%s", domain->policy->id, (long long)domain->fetched_ms, domain->policy->text);
    /* A policy that can't be written holds as long as the process lives. */
    bool is_kept = file_publish(domain->sts->folder_fd, domain->name, buf_slice(&text), FILE_SYNC, &error)
                   && file_sync_folder(domain->sts->folder_fd, &error);
    (void)is_kept;
    buf_finish(&text);
}

/* ---- ends ---- */

static void note(struct domain *domain, const char *format, ...) FORMAT(2, 3);

static void note(struct domain *domain, const char *format, ...)
{
    struct buf text = {0};
    va_list args;
    va_start(args, format);
    buf_vprintf(&text, format, args);
    va_end(args);
    free(domain->problem);
    domain->problem = buf_take(&text);
}

static struct sts_policy *valid_policy(struct domain *domain)
{
    return domain->policy && clock_wall_ms() < domain->expires_ms ? domain->policy : NULL;
}

static void stop(struct domain *domain)
{
    const struct resolver *resolver = domain->sts->resolver;
    while (domain->questions) {
        struct question *question = domain->questions;
        domain->questions = question->next;
        resolver->cancel(resolver->arg, question->async_id);
        free(question);
    }
    if (domain->call)
        https_cancel(domain->call);
    domain->call = NULL;
    domain->pending = 0;
    timer_free(&domain->timer);
    buf_finish(&domain->addresses);
    domain->is_busy = false;
}

static void conclude(struct domain *domain, int64_t fresh_ms)
{
    struct sts_waiter *waiters = domain->waiters;
    struct sts_policy *policy = sts_policy_hold(valid_policy(domain));
    char *problem = domain->problem ? mem_copy_text(domain->problem) : NULL;
    stop(domain);
    domain->fresh_until_ms = clock_mono_ms() + fresh_ms;
    domain->waiters = NULL;
    while (waiters) {
        struct sts_waiter *waiter = waiters;
        waiters = waiter->next;
        waiter->fn(waiter->arg, policy, problem);
        free(waiter);
    }
    sts_policy_release(&policy);
    free(problem);
}

static void fail_fetch(struct domain *domain)
{
    domain->fetch_after_ms = clock_mono_ms() + FETCH_AGAIN_MS;
    conclude(domain, CHECK_AGAIN_MS);
}

/* ---- the fetch ---- */

static void on_fetched(void *arg, const struct https_answer *answer)
{
    struct domain *domain = arg;
    struct error error;
    struct sts_policy *policy = NULL;
    domain->call = NULL; /* it ends with this callback */
    if (answer->status == 0)
        note(domain, "the MTA-STS policy could not be fetched: %s", answer->problem);
    else if (answer->status != 200)
        note(domain, "the MTA-STS policy could not be fetched: HTTP status %d", answer->status);
    else if (!answer->content_type || !slice_starts_nocase(slice_of(answer->content_type), SLICE("text/plain")))
        note(domain, "the MTA-STS policy is not text/plain");
    else if (!(policy = sts_policy_parse(answer->body, &error)))
        note(domain, "the MTA-STS policy is malformed: %s", error.text);
    if (!policy) {
        fail_fetch(domain);
        return;
    }
    take_policy(domain, policy, domain->id, clock_wall_ms());
    write_down(domain);
    conclude(domain, domain->ttl_ms);
}

static void fetch(struct domain *domain)
{
    const struct config *config = domain->sts->config;
    struct buf url = {0}, resolve = {0};
    if (domain->addresses.size == 0) {
        note(domain, "the MTA-STS policy could not be fetched: mta-sts.%s has no %s address", domain->name,
             domain->has_private ? "public" : "");
        fail_fetch(domain);
        return;
    }
    buf_printf(&resolve, "mta-sts.%s:%d:", domain->name, config->mta_sts.port);
    buf_append(&resolve, buf_slice(&domain->addresses));
    buf_printf(&url, "https://mta-sts.%s", domain->name);
    if (config->mta_sts.port != 443)
        buf_printf(&url, ":%d", config->mta_sts.port);
    buf_append_text(&url, "/.well-known/mta-sts.txt");
    struct https_request request = {.url = buf_text(&url), .resolve = buf_text(&resolve),
                                    .ca_file = config->mta_sts.ca_file, .size_max = STS_TEXT_SIZE_MAX,
                                    .timeout_ms = (long)config->mta_sts.timeout_ms};
    domain->call = https_ask(domain->sts->https, &request, on_fetched, domain);
    buf_finish(&url);
    buf_finish(&resolve);
}

/* ---- DNS ---- */

static void on_answer(void *arg, int problem, struct ub_result *result);

static bool ask(struct domain *domain, const char *prefix, int type)
{
    char name[DNS_NAME_SIZE + 16];
    const struct resolver *resolver = domain->sts->resolver;
    struct question *question = mem_alloc(sizeof *question);
    question->domain = domain;
    (void)snprintf(name, sizeof name, "%s.%s", prefix, domain->name);
    if (!resolver->ask(resolver->arg, name, type, on_answer, question, &question->async_id)) {
        free(question);
        return false;
    }
    question->next = domain->questions;
    domain->questions = question;
    domain->pending++;
    return true;
}

static void add_address(struct domain *domain, const struct ub_result *result, size_t i)
{
    struct route_address address = {0};
    char text[64];
    if (result->qtype == DNS_A && result->len[i] == 4) {
        address.to.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(1)};
        memcpy(&address.to.v4.sin_addr, result->data[i], 4);
    } else if (result->qtype == DNS_AAAA && result->len[i] == 16) {
        address.to.v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(1)};
        memcpy(&address.to.v6.sin6_addr, result->data[i], 16);
    } else {
        return;
    }
    if (!domain->sts->config->dns.is_private_allowed && !route_address_is_public(&address.to.any)) {
        domain->has_private = true;
        return;
    }
    route_address_text(&address, text, sizeof text);
    if (domain->addresses.size)
        buf_append_byte(&domain->addresses, ',');
    buf_append(&domain->addresses, slice_first(slice_of(text), strlen(text) - 2)); /* without ":1" */
}

static void on_addresses(struct domain *domain, const struct ub_result *result)
{
    for (size_t i = 0; result && !result->bogus && result->havedata && result->data[i]; i++)
        add_address(domain, result, i);
    if (domain->pending == 0)
        fetch(domain);
}

/* The id of the one record (M2); false if there is none. */
static bool find_record(struct domain *domain, const struct ub_result *result)
{
    size_t count = 0;
    bool is_fine = false;
    for (size_t i = 0; result->havedata && result->data[i]; i++) {
        struct buf text = {0};
        dns_join_strings(result->data[i], (size_t)result->len[i], &text);
        if (sts_record_is_one(buf_slice(&text))) {
            count++;
            is_fine = sts_record_parse(buf_slice(&text), domain->id);
        }
        buf_finish(&text);
    }
    if (count > 1 || (count == 1 && !is_fine))
        note(domain, count > 1 ? "it has several MTA-STS records" : "its MTA-STS record is malformed");
    return count == 1 && is_fine;
}

static void on_record(struct domain *domain, const struct ub_result *result)
{
    int64_t now_ms = clock_wall_ms();
    const struct sts_policy *known = valid_policy(domain);
    domain->ttl_ms = result ? (int64_t)result->ttl * 1000 : 0;
    domain->ttl_ms = domain->ttl_ms > CHECK_MOST_MS ? CHECK_MOST_MS : domain->ttl_ms < 5000 ? 5000 : domain->ttl_ms;
    if (!result || result->bogus || !find_record(domain, result)) {
        conclude(domain, CHECK_AGAIN_MS);
        return;
    }
    bool is_known = known && strcmp(known->id, domain->id) == 0 && now_ms - domain->fetched_ms < DAY_MS;
    if (is_known || clock_mono_ms() < domain->fetch_after_ms) {
        conclude(domain, is_known ? domain->ttl_ms : CHECK_AGAIN_MS);
        return;
    }
    const struct config *config = domain->sts->config;
    bool is_asked = config->dns.is_ipv4 && ask(domain, "mta-sts", DNS_A);
    is_asked = (config->dns.is_ipv6 && ask(domain, "mta-sts", DNS_AAAA)) || is_asked;
    if (!is_asked)
        fetch(domain);
}

static void on_answer(void *arg, int problem, struct ub_result *result)
{
    struct question *question = arg;
    struct domain *domain = question->domain;
    struct question **at = &domain->questions;
    while (*at != question)
        at = &(*at)->next;
    *at = question->next;
    free(question);
    if (problem) {
        ub_resolve_free(result);
        result = NULL;
    }
    domain->pending--;
    if (domain->id[0])
        on_addresses(domain, result);
    else
        on_record(domain, result);
    ub_resolve_free(result);
}

static void on_timeout(void *arg)
{
    struct domain *domain = arg;
    if (domain->call)
        return; /* it has a deadline of its own */
    note(domain, "the look-up of its MTA-STS %s took too long", domain->id[0] ? "host" : "record");
    conclude(domain, CHECK_AGAIN_MS);
}

/* ---- look-ups ---- */

static void domain_destroy(struct domain *domain)
{
    stop(domain);
    while (domain->waiters) {
        struct sts_waiter *waiter = domain->waiters;
        domain->waiters = waiter->next;
        free(waiter);
    }
    HASH_DEL(domain->sts->domains, domain);
    sts_policy_release(&domain->policy);
    free(domain->problem);
    free(domain->name);
    free(domain);
}

static struct domain *domain_get(struct sts *sts, const char *name)
{
    struct domain *domain, *next;
    HASH_FIND_STR(sts->domains, name, domain);
    if (domain)
        return domain;
    if (HASH_COUNT(sts->domains) >= DOMAINS_MAX)
        HASH_ITER(hh, sts->domains, domain, next)
            if (!domain->is_busy)
                domain_destroy(domain);
    domain = mem_alloc(sizeof *domain);
    domain->sts = sts;
    domain->name = mem_copy_text(name);
    HASH_ADD_KEYPTR(hh, sts->domains, domain->name, strlen(domain->name), domain);
    read_back(domain);
    return domain;
}

void sts_lookup(struct sts *sts, const char *name, sts_fn *fn, void *arg)
{
    struct domain *domain = domain_get(sts, name);
    if (!domain->is_busy && clock_mono_ms() < domain->fresh_until_ms) {
        fn(arg, valid_policy(domain), domain->problem);
        return;
    }
    struct sts_waiter *waiter = mem_alloc(sizeof *waiter);
    *waiter = (struct sts_waiter){fn, arg, domain->waiters};
    domain->waiters = waiter;
    if (domain->is_busy)
        return;
    domain->is_busy = true;
    domain->id[0] = '\0';
    domain->has_private = false;
    free(domain->problem);
    domain->problem = NULL;
    domain->timer = timer_make(sts->base, on_timeout, domain);
    timer_set(domain->timer, sts->config->dns.timeout_ms);
    if (!ask(domain, "_mta-sts", DNS_TXT))
        conclude(domain, CHECK_AGAIN_MS);
}

void sts_cancel(struct sts *sts, void *arg)
{
    for (struct domain *domain = sts->domains; domain; domain = domain->hh.next)
        for (struct sts_waiter **at = &domain->waiters; *at;) {
            struct sts_waiter *waiter = *at;
            if (waiter->arg != arg) {
                at = &waiter->next;
                continue;
            }
            *at = waiter->next;
            free(waiter);
        }
}

/* ---- life ---- */

struct sts *sts_create(struct event_base *base, const struct config *config, const struct resolver *resolver,
                       struct error *error)
{
    struct sts *sts = mem_alloc(sizeof *sts);
    struct buf path = {0};
    *sts = (struct sts){.base = base, .config = config, .resolver = resolver, .folder_fd = -1};
    sts->https = https_create(base, error);
    if (!sts->https) {
        sts_destroy(&sts);
        return NULL;
    }
    buf_printf(&path, "%s/Queue/mta-sts", config->root);
    sts->folder_fd = open(buf_text(&path), O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* -1: nothing is known yet */
    buf_finish(&path);
    return sts;
}

bool sts_keep(struct sts *sts, struct error *error)
{
    struct buf path = {0};
    buf_printf(&path, "%s/Queue/mta-sts", sts->config->root);
    bool is_fine = file_make_folder(buf_text(&path), 0700, error);
    if (is_fine && sts->folder_fd < 0)
        sts->folder_fd = file_open_folder(buf_text(&path), error);
    buf_finish(&path);
    sts->is_kept = is_fine && sts->folder_fd >= 0;
    return sts->is_kept;
}

void sts_destroy(struct sts **sts)
{
    struct sts *s = *sts;
    struct domain *domain, *next;
    if (!s)
        return;
    HASH_ITER(hh, s->domains, domain, next)
        domain_destroy(domain);
    https_destroy(&s->https);
    if (s->folder_fd >= 0)
        close(s->folder_fd);
    free(s);
    *sts = NULL;
}
