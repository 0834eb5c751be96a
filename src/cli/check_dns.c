#include "cli/check.h"
#include "route/dns.h"
#include "route/route.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>

enum { WAIT_MS = 3000, ADDRESSES_MAX = 16 };

enum { ASK_HELO_A, ASK_HELO_AAAA, ASK_SPF, ASK_MX, ASK_A, ASK_AAAA, ASK_COUNT };

struct addresses { struct route_address items[ADDRESSES_MAX]; size_t count; };

/* Returns 1, to be counted. */
FORMAT(2, 3) static int warn(const char *about, const char *format, ...)
{
    va_list args;
    printf("%s: warning: ", about);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    return 1;
}

static void ask(struct dns_question *question, const char *name, int type)
{
    (void)snprintf(question->name, sizeof question->name, "%s", name);
    question->type = type;
}

static bool has_data(const struct dns_question *question)
{
    return question->result && question->result->havedata;
}

static void collect(const struct dns_question *question, struct addresses *to)
{
    for (size_t i = 0; has_data(question) && question->result->data[i] && to->count < ADDRESSES_MAX; i++) {
        struct route_address *address = &to->items[to->count];
        const void *data = question->result->data[i];
        if (question->type == DNS_A && question->result->len[i] == 4) {
            address->to.v4 = (struct sockaddr_in){.sin_family = AF_INET};
            memcpy(&address->to.v4.sin_addr, data, 4);
        } else if (question->type == DNS_AAAA && question->result->len[i] == 16) {
            address->to.v6 = (struct sockaddr_in6){.sin6_family = AF_INET6};
            memcpy(&address->to.v6.sin6_addr, data, 16);
        } else {
            continue;
        }
        to->count++;
    }
}

/* A name in wire form as "host.example". */
static void name_text(const char *wire, int size, char ret_text[DNS_NAME_SIZE])
{
    size_t at = 0;
    for (int i = 0; i < size && wire[i];) {
        int label = (unsigned char)wire[i++];
        for (; label && i < size && at + 2 < DNS_NAME_SIZE; label--, i++)
            ret_text[at++] = wire[i] > ' ' && wire[i] < 127 ? wire[i] : '?';
        if (i < size && wire[i] && at + 2 < DNS_NAME_SIZE)
            ret_text[at++] = '.';
    }
    ret_text[at] = '\0';
}

static int check_reverse(struct ub_ctx *context, const struct addresses *addresses, const char *helo)
{
    struct dns_question questions[ADDRESSES_MAX] = {0};
    char text[64] = "?", name[DNS_NAME_SIZE];
    int warnings = 0;
    for (size_t i = 0; i < addresses->count; i++) {
        dns_reverse_name(&addresses->items[i].to.any, questions[i].name);
        questions[i].type = DNS_PTR;
    }
    dns_ask(context, questions, addresses->count, WAIT_MS);
    for (size_t i = 0; i < addresses->count; i++) {
        struct ub_result *result = questions[i].result;
        (void)getnameinfo(&addresses->items[i].to.any, sizeof addresses->items[i].to, text, sizeof text, NULL, 0,
                          NI_NUMERICHOST);
        bool is_ours = false;
        for (size_t k = 0; result && result->havedata && result->data[k]; k++) {
            name_text(result->data[k], result->len[k], name);
            is_ours = is_ours || slice_equals_nocase(slice_of(name), slice_of(helo));
        }
        if (result && !result->havedata)
            warnings += warn(text, "this address of %s has no PTR: large receivers refuse mail from it", helo);
        else if (result && !is_ours)
            warnings += warn(text, "its PTR names %s, not %s", name, helo);
        ub_resolve_free(result);
    }
    return warnings;
}

static int count_spf(const struct dns_question *question)
{
    int count = 0;
    for (size_t i = 0; has_data(question) && question->result->data[i]; i++) {
        struct slice text = slice_make(question->result->data[i], (size_t)question->result->len[i]);
        count += text.size && slice_starts_nocase(slice_from(text, 1), SLICE("v=spf1")); /* behind its length octet */
    }
    return count;
}

static int check_domain(const struct config *config, const struct dns_question *questions)
{
    const char *domain = config->default_domain;
    int warnings = 0, spf = count_spf(&questions[ASK_SPF]);
    if (questions[ASK_SPF].result && spf == 0)
        warnings += warn(domain, "no SPF record (TXT \"v=spf1 …\"): large receivers refuse or junk its mail");
    if (spf > 1)
        warnings += warn(domain, "%d SPF records; there must be one (RFC 7208 4.5)", spf);
    if (questions[ASK_MX].result && !has_data(&questions[ASK_MX]) && !has_data(&questions[ASK_A])
        && !has_data(&questions[ASK_AAAA]))
        warnings += warn(domain, "neither MX nor address in DNS: bounces can't come back");
    return warnings;
}

int check_dns(const struct config *config)
{
    const char *helo = config->delivery.helo ? config->delivery.helo : config->hostname;
    struct dns_question questions[ASK_COUNT] = {0};
    struct addresses addresses = {0};
    struct error error;
    struct ub_ctx *context = dns_open(config, &error);
    if (!context)
        return warn("dns", "%s", error.text);
    ask(&questions[ASK_HELO_A], helo, DNS_A);
    ask(&questions[ASK_HELO_AAAA], helo, DNS_AAAA);
    ask(&questions[ASK_SPF], config->default_domain, DNS_TXT);
    ask(&questions[ASK_MX], config->default_domain, DNS_MX);
    ask(&questions[ASK_A], config->default_domain, DNS_A);
    ask(&questions[ASK_AAAA], config->default_domain, DNS_AAAA);
    dns_ask(context, questions, ASK_COUNT, WAIT_MS);
    int warnings = 0, silent = 0;
    for (int i = 0; i < ASK_COUNT; i++)
        silent += !questions[i].result || (questions[i].result->rcode != 0 && questions[i].result->rcode != 3);
    if (silent) {
        warnings += warn("dns", "no usable answer about %s and %s: PTR, SPF and MX were not checked", helo,
                         config->default_domain);
    } else {
        collect(&questions[ASK_HELO_A], &addresses);
        collect(&questions[ASK_HELO_AAAA], &addresses);
        if (addresses.count == 0)
            warnings += warn(helo, "the HELO name has no address in DNS: many receivers refuse it");
        warnings += check_reverse(context, &addresses, helo) + check_domain(config, questions);
    }
    for (int i = 0; i < ASK_COUNT; i++)
        ub_resolve_free(questions[i].result);
    ub_ctx_delete(context);
    return warnings;
}
