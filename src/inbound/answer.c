#include "inbound/answer.h"

#include <stdio.h>

/* RFC 1035 3.3.9: a preference, then the host. */
static bool read_record(int type, const char *data, size_t size, struct buf *text, struct slice *ret_record)
{
    char name[DNS_NAME_SIZE];
    size_t start = text->size, skipped = type == DNS_MX ? 2 : 0;
    *ret_record = slice_make(data, size);
    if (type == DNS_A || type == DNS_AAAA)
        return true;
    if (type == DNS_TXT)
        dns_join_strings(data, size, text);
    else if (size > skipped && dns_name_from_wire((const uint8_t *)data + skipped, size - skipped, name))
        buf_append_text(text, name);
    else
        return false;
    *ret_record = text->data ? slice_from(buf_slice(text), start) : SLICE("");
    return true;
}

void answer_fill(struct lookups *lookups, struct lookup *lookup, const struct ub_result *result)
{
    struct slice records[LOOKUP_RECORDS_MAX];
    struct buf texts[LOOKUP_RECORDS_MAX] = {{0}};
    size_t count = 0;
    enum lookup_status status = LOOKUP_FAILED;
    for (size_t i = 0; result && result->havedata && result->data[i] && count < LOOKUP_RECORDS_MAX; i++)
        if (read_record(lookup->type, result->data[i], (size_t)result->len[i], &texts[count], &records[count]))
            count++;
    if (result && !result->bogus && (result->havedata || result->rcode == 0 || result->nxdomain))
        status = count ? LOOKUP_FOUND : LOOKUP_NONE;
    lookup_fill(lookups, lookup, status, records, status == LOOKUP_FOUND ? count : 0);
    for (size_t i = 0; i < LOOKUP_RECORDS_MAX; i++)
        buf_finish(&texts[i]);
}

void answer_ask(struct lookups *lookups, struct ub_ctx *context, int timeout_ms)
{
    struct dns_question questions[LOOKUPS_MAX] = {0};
    size_t places[LOOKUPS_MAX], count = 0;
    for (size_t i = 0; i < lookups->count; i++) {
        const struct lookup *lookup = lookups->items[i];
        if (lookup->status != LOOKUP_OPEN)
            continue;
        (void)snprintf(questions[count].name, sizeof questions[count].name, "%.*s", SLICE_FMT(lookup->name));
        questions[count].type = lookup->type;
        places[count++] = i;
    }
    dns_ask(context, questions, count, timeout_ms);
    for (size_t i = 0; i < count; i++) {
        answer_fill(lookups, lookups->items[places[i]], questions[i].result);
        ub_resolve_free(questions[i].result);
    }
}
