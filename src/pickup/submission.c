#include "pickup/pickup_writer.h"

static bool is_clean(struct slice text)
{
    return slice_find_byte(text, '\r') < 0 && slice_find_byte(text, '\n') < 0 && slice_find_byte(text, '\0') < 0;
}

bool submission_check(const struct submission *submission, struct error *error)
{
    const struct slice texts[] = {submission->sender, submission->ret, submission->envid, submission->auth,
                                  submission->deliver_at, submission->deliver_by, submission->once_key};
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        if (!slice_is_absent(texts[i]) && !is_clean(texts[i]))
            return error_set(error, "a line end in the sender or a parameter");
    for (size_t i = 0; i < submission->recipient_count; i++) {
        const struct submission_recipient *recipient = &submission->recipients[i];
        if (recipient->address.size == 0 || !is_clean(recipient->address)
            || (!slice_is_absent(recipient->notify) && !is_clean(recipient->notify))
            || (!slice_is_absent(recipient->orcpt) && !is_clean(recipient->orcpt)))
            return error_set(error, "a recipient that is empty or holds a line end");
    }
    return true;
}

static void put_path(struct buf *out, const char *field, struct slice address)
{
    bool is_bracketed = address.size && address.data[0] == '<';
    buf_append_text(out, field);
    if (!is_bracketed)
        buf_append_byte(out, '<');
    buf_append(out, address);
    if (!is_bracketed)
        buf_append_byte(out, '>');
}

static void put_parameter(struct buf *out, const char *name, struct slice value)
{
    if (slice_is_absent(value))
        return;
    buf_append_text(out, name);
    buf_append(out, value);
}

void submission_put_envelope(struct buf *out, const struct submission *submission)
{
    static const char *const origins[] = {[SUBMISSION_ACCEPTED] = "submission", [SUBMISSION_RELAYED] = "relay"};
    if (!slice_is_absent(submission->sender)) {
        put_path(out, "X-Sender: ", submission->sender);
        put_parameter(out, " RET=", submission->ret);
        put_parameter(out, " ENVID=", submission->envid);
        put_parameter(out, " AUTH=", submission->auth);
        buf_append_text(out, submission->is_8bit ? " BODY=8BITMIME" : "");
        buf_append_text(out, submission->is_smtputf8 ? " SMTPUTF8" : "");
        buf_append_text(out, submission->is_requiretls ? " REQUIRETLS\r\n" : "\r\n");
    }
    for (size_t i = 0; i < submission->recipient_count; i++) {
        put_path(out, "X-Receiver: ", submission->recipients[i].address);
        put_parameter(out, " NOTIFY=", submission->recipients[i].notify);
        put_parameter(out, " ORCPT=", submission->recipients[i].orcpt);
        buf_append_text(out, "\r\n");
    }
    if (!slice_is_absent(submission->deliver_at))
        buf_printf(out, "X-Deliver-At: %.*s\r\n", SLICE_FMT(submission->deliver_at));
    if (!slice_is_absent(submission->deliver_by))
        buf_printf(out, "X-Deliver-By: %.*s\r\n", SLICE_FMT(submission->deliver_by));
    if (origins[submission->origin])
        buf_printf(out, "X-Mailroot-Accepted: %s\r\n", origins[submission->origin]);
    if (!slice_is_absent(submission->hold))
        buf_printf(out, "X-Mailroot-Hold: %.*s\r\n", SLICE_FMT(submission->hold));
    if (!slice_is_absent(submission->once_key))
        buf_printf(out, "X-Idempotency-Key: %.*s\r\n", SLICE_FMT(submission->once_key));
    if (submission->is_block_ended)
        buf_printf(out, "X-EndOfInjectedXHeaders: %zu\r\n", out->size);
    if (!slice_is_absent(submission->trace))
        buf_append(out, submission->trace);
}
