#include "cli/judge.h"

#include "base/ip.h"
#include "inbound/answer.h"
#include "inbound/checks.h"
#include "os/clock.h"

#include <arpa/inet.h>
#include <libpsl.h>
#include <stdio.h>
#include <stdlib.h>

enum { WAIT_MS = 5000, ROUNDS_MAX = 30 };

struct client { struct in6_addr address; char text[64]; const char *helo; };
struct clients { struct client items[JUDGE_ADDRESSES_MAX]; size_t count; };

/* ---- where it comes from ---- */

static void add_client(struct clients *clients, const char *text, const char *helo)
{
    struct client *client = &clients->items[clients->count];
    if (clients->count == JUDGE_ADDRESSES_MAX || !ip_parse(slice_of(text), &client->address))
        return;
    (void)snprintf(client->text, sizeof client->text, "%s", text);
    client->helo = helo;
    clients->count++;
}

static void add_all(struct clients *clients, const struct config_list *addresses, const char *helo)
{
    for (size_t i = 0; i < addresses->count; i++)
        add_client(clients, addresses->items[i], helo);
}

static void add_of_name(struct clients *clients, struct ub_ctx *context, const char *name)
{
    static const int types[] = {DNS_A, DNS_AAAA};
    struct dns_question questions[COUNT_OF(types)] = {0};
    char text[INET6_ADDRSTRLEN];
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        (void)snprintf(questions[i].name, sizeof questions[i].name, "%s", name);
        questions[i].type = types[i];
    }
    dns_ask(context, questions, COUNT_OF(types), WAIT_MS);
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        const struct ub_result *result = questions[i].result;
        for (size_t k = 0; result && result->havedata && result->data[k]; k++)
            if (result->len[k] == (types[i] == DNS_A ? 4 : 16)
                && inet_ntop(types[i] == DNS_A ? AF_INET : AF_INET6, result->data[k], text, sizeof text))
                add_client(clients, text, name);
        ub_resolve_free(questions[i].result);
    }
}

static void find_clients(struct clients *clients, const struct config *config, const struct folder_conf *folder, struct slice sender_domain,
                         struct ub_ctx *context)
{
    const char *helo = config->delivery.helo ? config->delivery.helo : config->hostname;
    for (size_t i = 0; folder && i < folder->sources.count; i++)
        for (size_t k = 0; k < config->source_count; k++)
            if (strcmp(config->sources[k].name, folder->sources.items[i]) == 0)
                add_all(clients, &config->sources[k].addresses, config->sources[k].helo ? config->sources[k].helo : helo);
    for (size_t k = 0; clients->count == 0 && k < config->source_count; k++)
        if (config_source_fits(&config->sources[k], sender_domain))
            add_all(clients, &config->sources[k].addresses, config->sources[k].helo ? config->sources[k].helo : helo);
    if (clients->count == 0)
        add_all(clients, &config->delivery.sources, helo);
    if (clients->count == 0)
        add_of_name(clients, context, helo);
}

/* ---- words ---- */

static void say(json_t *words, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(json_t *words, const char *format, ...)
{
    struct buf text = {0};
    va_list args;
    va_start(args, format);
    buf_vprintf(&text, format, args);
    va_end(args);
    json_t *word = json_stringn(buf_text(&text), text.size);
    if (word)
        (void)json_array_append_new(words, word);
    buf_finish(&text);
}

static json_t *text_of(struct slice text)
{
    return slice_is_absent(text) ? json_null() : json_stringn(text.data, text.size);
}

static bool has_good_signature(const struct checks *checks)
{
    for (size_t i = 0; i < checks->signature_count; i++)
        if (checks_is_good(&checks->signatures[i]))
            return true;
    return false;
}

static void explain_signatures(const struct checks *checks, json_t *words)
{
    if (checks->signature_count == 0)
        say(words, "it is not signed (DKIM): no dkim section fits <%.*s>", SLICE_FMT(checks->from_domain));
    for (size_t i = 0; i < checks->signature_count; i++) {
        const struct dkim_signature *signature = &checks->signatures[i];
        if (!checks_is_good(signature))
            say(words, "DKIM %s of %.*s: %s; look at %.*s._domainkey.%.*s (mailroot check)", dkim_result_name(signature->result),
                SLICE_FMT(signature->domain), signature->reason ? signature->reason : "it does not count", SLICE_FMT(signature->selector),
                SLICE_FMT(signature->domain));
    }
}

static void explain(const struct client *client, const struct checks *checks, json_t *words)
{
    if (checks->iprev != IPREV_PASS)
        say(words, "%s: no PTR that leads back to it (%s): large receivers refuse mail from such an address", client->text,
            iprev_result_name(checks->iprev));
    else if (!slice_equals_nocase(checks->client_name, slice_of(client->helo)))
        say(words, "%s: its PTR names %.*s, HELO says %s", client->text, SLICE_FMT(checks->client_name), client->helo);
    if (checks->spf.result != SPF_PASS)
        say(words, "%s: SPF of %.*s says %s%s%s", client->text, SLICE_FMT(checks->spf_domain), spf_result_name(checks->spf.result),
            checks->spf.reason ? ": " : "", checks->spf.reason ? checks->spf.reason : "");
    if (checks->dmarc.result == DMARC_NONE)
        say(words, "%.*s has no DMARC record: large receivers ask for one", SLICE_FMT(checks->from_domain));
    else if (checks->dmarc.result != DMARC_PASS)
        say(words, "DMARC %s: %.*s asks for %s%s%s", dmarc_result_name(checks->dmarc.result), SLICE_FMT(checks->from_domain),
            dmarc_policy_name(checks->dmarc.policy), checks->dmarc.reason ? ": " : "", checks->dmarc.reason ? checks->dmarc.reason : "");
}

enum verdict { VERDICT_GOOD, VERDICT_WEAK, VERDICT_BAD, VERDICT_UNKNOWN };

static enum verdict verdict_of(const struct checks *checks)
{
    bool is_known = checks->dmarc.result != DMARC_TEMPERROR && checks->spf.result != SPF_TEMPERROR && checks->iprev != IPREV_TEMPERROR;
    bool is_proved = checks->spf.result == SPF_PASS || has_good_signature(checks);
    if ((checks->dmarc.result == DMARC_FAIL && checks->dmarc.policy != DMARC_ASKS_NONE)
        || (checks->spf.result == SPF_FAIL && checks->dmarc.result != DMARC_PASS))
        return VERDICT_BAD;
    if (!is_known)
        return VERDICT_UNKNOWN;
    return checks->iprev == IPREV_PASS && is_proved && (checks->dmarc.result == DMARC_PASS || checks->dmarc.result == DMARC_NONE)
               ? VERDICT_GOOD : VERDICT_WEAK;
}

static json_t *checks_json(const struct client *client, const struct checks *checks)
{
    json_t *signatures = json_array();
    for (size_t i = 0; i < checks->signature_count; i++) {
        const struct dkim_signature *signature = &checks->signatures[i];
        json_array_append_new(signatures, json_pack("{s:o, s:o, s:s, s:s?}", "domain", text_of(signature->domain), "selector",
                                                    text_of(signature->selector), "result", dkim_result_name(signature->result), "reason",
                                                    signature->reason));
    }
    return json_pack("{s:s, s:s, s:s, s:o, s:s, s:o, s:s, s:s, s:o}", "ip", client->text, "helo", client->helo, "ptr",
                     iprev_result_name(checks->iprev), "ptr_name", text_of(checks->client_name), "spf", spf_result_name(checks->spf.result),
                     "spf_domain", text_of(checks->spf_domain), "dmarc", dmarc_result_name(checks->dmarc.result), "dmarc_policy",
                     dmarc_policy_name(checks->dmarc.policy), "dkim", signatures);
}

/* ---- all of it ---- */

static void run(struct checks *checks, struct ub_ctx *context)
{
    for (int round = 0; !checks_run(checks); round++) {
        if (round < ROUNDS_MAX)
            answer_ask(&checks->lookups, context, WAIT_MS);
        else
            lookups_give_up(&checks->lookups);
    }
}

static struct slice domain_of(struct slice sender)
{
    for (size_t i = sender.size; i > 0; i--)
        if (sender.data[i - 1] == '@')
            return slice_from(sender, i);
    return SLICE("");
}

json_t *judge_message(const struct config *config, const struct folder_conf *folder, struct slice sender, struct slice message)
{
    static const char *const names[] = {"good", "weak", "bad", "unknown"};
    struct error error = {{0}};
    struct clients clients = {.count = 0};
    json_t *addresses = json_array(), *words = json_array();
    struct slice from = SLICE_NONE;
    enum verdict worst = VERDICT_GOOD;
    struct ub_ctx *context = dns_open(config, &error);
    psl_ctx_t *suffixes = psl_latest(NULL);
    if (context)
        find_clients(&clients, config, folder, domain_of(sender), context);
    else
        say(words, "%s", error.text);
    if (clients.count == 0) {
        worst = VERDICT_UNKNOWN;
        say(words, "it is not known which address it leaves from: set delivery.source, or give the HELO name an address in DNS");
    }
    json_t *from_json = json_null();
    for (size_t i = 0; i < clients.count && suffixes; i++) {
        const struct client *client = &clients.items[i];
        struct checks *checks = calloc(1, sizeof *checks);
        if (!checks)
            break;
        const struct checks_options options = {true, true, true, true, false, config->hostname, suffixes};
        const struct checks_subject subject = {client->address, slice_of(client->helo), sender, message, clock_wall_ms(), 0};
        checks_begin(checks, &options, &subject);
        run(checks, context);
        if (i == 0) {
            from = checks->from_domain;
            json_decref(from_json);
            from_json = text_of(from);
            explain_signatures(checks, words);
        }
        explain(client, checks, words);
        worst = verdict_of(checks) > worst && worst != VERDICT_BAD ? verdict_of(checks) : worst;
        json_array_append_new(addresses, checks_json(client, checks));
        checks_finish(checks);
        free(checks);
    }
    psl_free(suffixes);
    if (context)
        ub_ctx_delete(context);
    return json_pack("{s:s, s:o, s:o, s:o}", "verdict", names[worst], "from", from_json, "addresses", addresses, "words", words);
}
