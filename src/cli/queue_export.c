/* A message as one file that goes on in another relay's Pickup where it stopped:
 *
 *   X-Sender: <a@b> RET=HDRS ENVID=x BODY=8BITMIME SMTPUTF8
 *   X-Receiver: <c@d> NOTIFY=FAILURE ORCPT=rfc822;c@d        of those that have no final state
 *   X-Mailroot-Export: id=… arrived=… priority=… pickup=…    said once
 *   X-Mailroot-Attempt: <c@d> state=… attempts=… …           what has happened for each of them
 *   X-Mailroot-Done: <e@f> state=…                           and for the others, who are done
 *
 * Values are xtext (RFC 3461 4), so that none of them can end its line; lines are folded between
 * the values. The message follows octet by octet: its dots are not stuffed. */
#include "cli/queue.h"

#include "message/envelope.h"
#include "store/policy.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { REPLY_SIZE_MAX = 300, COPY_SIZE = 64 * 1024 };

static void put_xtext(struct buf *out, const char *key, struct slice text)
{
    if (slice_is_absent(text))
        return;
    if (text.size > REPLY_SIZE_MAX)
        text.size = REPLY_SIZE_MAX; /* three octets each: under the 998 of RFC 5322 2.1.1 */
    buf_printf(out, "\r\n %s=", key);
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c > 0x20 && c < 0x7f && c != '+' && c != '=')
            buf_append_byte(out, (char)c);
        else
            buf_printf(out, "+%02X", c);
    }
}

static void put_when(struct buf *out, const char *key, int64_t wall_ms)
{
    buf_printf(out, " %s=", key);
    put_time(out, wall_ms);
}

/* An ESMTP parameter, whose value is kept in the queue as it came: in xtext. */
static void put_parameter(struct buf *out, const char *key, struct slice value)
{
    if (slice_is_absent(value))
        return;
    buf_printf(out, " %s=", key);
    buf_append(out, value);
}

static bool is_safe(struct slice text)
{
    return slice_find_byte(text, '\r') < 0 && slice_find_byte(text, '\n') < 0
           && slice_find_byte(text, '\0') < 0;
}

static void put_path(struct buf *out, const char *field, struct slice address)
{
    buf_printf(out, "%s: <", field);
    buf_append(out, address);
    buf_append_byte(out, '>');
}

static void put_sender(struct buf *out, const struct store_message *m)
{
    put_path(out, "X-Sender", m->sender);
    if (m->ret == RET_FULL || m->ret == RET_HDRS)
        buf_append_text(out, m->ret == RET_FULL ? " RET=FULL" : " RET=HDRS");
    put_parameter(out, "ENVID", m->envid);
    put_parameter(out, "AUTH", m->auth);
    if (m->flags & MESSAGE_8BIT)
        buf_append_text(out, " BODY=8BITMIME");
    if (m->flags & MESSAGE_SMTPUTF8)
        buf_append_text(out, " SMTPUTF8");
    if (m->flags & MESSAGE_REQUIRETLS)
        buf_append_text(out, " REQUIRETLS");
    buf_append_text(out, "\r\n");
}

/* RFC 2852, as xlines.c reads it. */
static void put_deliver_by(struct buf *out, const struct store_message *m)
{
    struct policy policy;
    policy_read(m->policy, &policy);
    if (!policy.by_ms)
        return;
    buf_append_text(out, "X-Deliver-By: ");
    put_time(out, policy.by_ms);
    buf_printf(out, ";%c%s\r\n", policy.is_by_return ? 'R' : 'N', policy.is_by_traced ? "T" : "");
}

static void put_receiver(struct buf *out, struct arena *arena, const struct store_recipient *r)
{
    put_path(out, "X-Receiver", r->address);
    if (r->notify)
        put_parameter(out, "NOTIFY", envelope_notify_text(arena, r->notify));
    put_parameter(out, "ORCPT", r->orcpt);
    buf_append_text(out, "\r\n");
}

static void put_export(struct buf *out, const struct store_message *m)
{
    char id[17];
    store_id_text(m->id, id);
    buf_printf(out, "X-Mailroot-Export: id=%s", id);
    put_when(out, "arrived", m->arrived_ms);
    buf_printf(out, " priority=%d", m->priority);
    put_xtext(out, "pickup", m->pickup_name);
    put_xtext(out, "owner", m->owner);
    buf_append_text(out, "\r\n");
}

static void put_history(struct buf *out, const char *field, const struct store_recipient *r)
{
    put_path(out, field, r->address);
    buf_printf(out, " state=%s attempts=%u", state_name(r->state), r->attempts);
    if (r->state == STATE_QUEUED || r->state == STATE_HELD)
        put_when(out, "next", r->next_ms);
    if (r->last_attempt_ms)
        put_when(out, "last", r->last_attempt_ms);
    if (r->is_delay_noticed)
        buf_append_text(out, " delay-noticed=1");
    put_xtext(out, "route", r->route);
    put_xtext(out, "status", r->last_status);
    put_xtext(out, "host", r->last_host);
    put_xtext(out, "reply", r->last_reply);
    buf_append_text(out, "\r\n");
}

static bool is_open(const struct store_recipient *r)
{
    return r->state == STATE_QUEUED || r->state == STATE_HELD;
}

static bool all_safe(const struct store_message *m, const struct store_recipient *recipients,
                     size_t count)
{
    bool is_all_safe = is_safe(m->sender) && is_safe(m->envid) && is_safe(m->auth);
    for (size_t i = 0; i < count; i++)
        is_all_safe = is_all_safe && is_safe(recipients[i].address) && is_safe(recipients[i].orcpt);
    return is_all_safe;
}

static bool put_envelope(struct buf *out, struct arena *arena, const struct store_message *m,
                         const struct store_recipient *recipients, size_t count)
{
    if (!all_safe(m, recipients, count))
        return false;
    put_sender(out, m);
    for (size_t i = 0; i < count; i++)
        if (is_open(&recipients[i]))
            put_receiver(out, arena, &recipients[i]);
    put_deliver_by(out, m);
    put_export(out, m);
    for (size_t i = 0; i < count; i++)
        put_history(out, is_open(&recipients[i]) ? "X-Mailroot-Attempt" : "X-Mailroot-Done",
                    &recipients[i]);
    return true;
}

static bool copy_body(const struct queue_request *request, uint64_t id, struct error *error)
{
    char block[COPY_SIZE];
    ssize_t got;
    int fd = store_body_open(request->queue_dir, id, error);
    if (fd < 0)
        return false;
    while ((got = read(fd, block, sizeof block)) > 0)
        if (fwrite(block, 1, (size_t)got, stdout) != (size_t)got)
            break;
    if (got != 0)
        (void)error_set_errno(error, got < 0 ? "body file" : "standard output");
    close(fd);
    return got == 0;
}

static bool export_message(struct queue_request *request, struct store *store, uint64_t id,
                           struct error *error)
{
    struct store_message m;
    struct store_recipient *recipients;
    size_t count;
    struct buf head = {0};
    if (!store_read_message(store, &request->arena, id, true, &m, error)
        || !store_read_recipients(store, &request->arena, id, &recipients, &count, error))
        return false;
    bool is_done = put_envelope(&head, &request->arena, &m, recipients, count)
                   || error_set(error, "an address with a line end in it can't be exported");
    if (is_done)
        out_print(&head);
    buf_finish(&head);
    if (is_done && m.is_in_file)
        return copy_body(request, id, error);
    return is_done && (fwrite(m.content.data, 1, m.content.size, stdout) == m.content.size
                       || error_set_errno(error, "standard output"));
}

int queue_export(struct queue_request *request)
{
    struct store *store;
    struct error error;
    if (request->filter.id_count != 1)
        return command_fail("queue", EX_USAGE, "export: one queue id is expected");
    int code = queue_open(request, &store);
    if (code != EX_OK)
        return code;
    bool is_done = export_message(request, store, request->filter.ids[0], &error);
    store_close(&store);
    if (is_done && fflush(stdout) == 0)
        return EX_OK;
    return command_fail("queue", is_done ? EX_IOERR : 1, "export: %s",
                        is_done ? strerror(errno) : error.text);
}
