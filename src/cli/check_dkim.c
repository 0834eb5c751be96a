#include "cli/check.h"
#include "config/signer.h"
#include "route/dns.h"

#include <stdio.h>
#include <stdlib.h>

enum { WAIT_MS = 3000 };

/* The value of p=, without blanks. */
static void public_key_of(struct slice record, struct buf *out)
{
    while (record.size) {
        struct slice value = slice_cut(&record, ';');
        struct slice tag = slice_trim(slice_cut(&value, '='));
        if (!slice_equals(tag, SLICE("p")))
            continue;
        for (size_t i = 0; i < value.size; i++)
            if (value.data[i] > ' ')
                buf_append_byte(out, value.data[i]);
    }
}

static const char *fault_of(const struct ub_result *result, const struct dkim_key *key)
{
    struct buf ours = {0}, mine = {0};
    const char *fault = !result                                   ? "no answer in time"
                        : result->rcode != 0 && result->rcode != 3 ? "no usable answer"
                                                                  : "not there: receivers take the signature for broken";
    if (!dkim_record(key->key, &mine, NULL))
        return "the key has no public part";
    public_key_of(buf_slice(&mine), &ours);
    for (size_t i = 0; result && result->havedata && result->data[i]; i++) {
        struct buf text = {0}, theirs = {0};
        dns_join_strings(result->data[i], (size_t)result->len[i], &text);
        public_key_of(buf_slice(&text), &theirs);
        bool is_same = theirs.size && slice_equals(buf_slice(&theirs), buf_slice(&ours));
        fault = is_same ? NULL : theirs.size ? "another key than ours is there" : "revoked there (p= is empty or missing)";
        buf_finish(&text);
        buf_finish(&theirs);
        if (is_same)
            break;
    }
    buf_finish(&ours);
    buf_finish(&mine);
    return fault;
}

int check_dkim(const struct config *config, const struct signer *signer)
{
    struct error error;
    size_t count = signer_count(signer);
    int warnings = 0;
    struct ub_ctx *context = dns_open(config, &error);
    struct dns_question *questions = calloc(count, sizeof *questions);
    if (!context || !questions) {
        printf("dkim: warning: %s\n", context ? "out of memory" : error.text);
        warnings = 1;
        count = 0;
    }
    for (size_t i = 0; i < count; i++) {
        const struct dkim_key *key = signer_key(signer, i);
        (void)snprintf(questions[i].name, sizeof questions[i].name, "%.*s._domainkey.%.*s", SLICE_FMT(key->selector),
                       SLICE_FMT(key->domain));
        questions[i].type = DNS_TXT;
    }
    if (count)
        dns_ask(context, questions, count, WAIT_MS);
    for (size_t i = 0; i < count; i++) {
        const struct dkim_key *key = signer_key(signer, i);
        const char *fault = fault_of(questions[i].result, key);
        if (fault) {
            printf("%s: warning: DKIM key in DNS: %s\n", questions[i].name, fault);
            warnings++;
        } else if (EVP_PKEY_base_id(key->key) == EVP_PKEY_RSA && EVP_PKEY_get_bits(key->key) < 2048) {
            printf("%s: warning: an RSA key of %d bits; 2048 are wanted today\n", questions[i].name,
                   EVP_PKEY_get_bits(key->key));
            warnings++;
        }
        ub_resolve_free(questions[i].result);
    }
    free(questions);
    if (context)
        ub_ctx_delete(context);
    return warnings;
}
