/* What is sent: files as an application would drop them, handed over where intake hands its own. */
#include "lab/lab_private.h"

#include "base/mem.h"
#include "os/clock.h"
#include "pickup/prepare.h"

#include <stdio.h>
#include <stdlib.h>

struct sending {
    struct lab *lab;
    const struct lab_send *send;
    struct timer *timer;
    int number;                /* of the next message, from 0 */
};

struct handing {               /* a message on its way into the queue */
    struct writer_job job;
    struct lab *lab;
    struct queued *queued;
    struct timer *again;       /* the disk was full: it stays in Pickup, as it were */
    struct handing *next;      /* of lab->handings */
};

static void compose(const struct lab_send *send, int number, int64_t now_ms, struct buf *out)
{
    size_t size = 0;
    const char *name = *send->name ? send->name : "message";
    buf_printf(out, "X-Sender: <%s>\n", send->from);
    for (size_t i = 0; i < send->to.count; i++)
        buf_printf(out, "X-Receiver: <%s>\n", send->to.items[i]);
    buf_printf(out, "From: <%s>\nTo: %s\nSubject: %s, number %d\nMessage-ID: <", *send->from ? send->from : "postmaster@relay.lab.test",
               send->to.count == 1 ? send->to.items[0] : "undisclosed-recipients:;", name, number + 1);
    for (const char *c = name; *c; c++)
        buf_append_byte(out, (*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') ? *c : '-');
    buf_printf(out, ".%d@relay.lab.test>\n\nSent %lld ms after 1970.\n", number + 1, (long long)now_ms);
    for (; size < send->size; size += 72)
        buf_append_text(out, "All work and no play makes a dull lab, so it goes on and on and on here\n");
}

static void tell_taken(struct lab *lab, const struct queued *queued)
{
    struct event event = EVENT(EVENT_TAKEN);
    event.id = queued->message.id;
    event.pickup = queued->message.pickup_name;
    event.message_id = queued->message.message_id;
    event.sender = queued->message.sender;
    event.size = (int64_t)queued->message.size;
    event.recipients = (int64_t)queued->recipient_count;
    event_put(lab->log, &event);
    for (size_t i = 0; i < queued->recipient_count; i++) {
        struct event recipient = EVENT(EVENT_QUEUED);
        recipient.id = queued->message.id;
        recipient.pickup = queued->message.pickup_name;
        recipient.message_id = queued->message.message_id;
        recipient.recipient = queued->recipients[i].address;
        event_put(lab->log, &recipient);
    }
}

static bool apply(struct writer_job *job, struct store *store, struct error *error)
{
    return queued_store(((struct handing *)job)->queued, store, error);
}

static void submit(void *arg)
{
    struct handing *handing = arg;
    writer_submit(handing->lab->writer, &handing->job);
}

static void handing_free(struct handing *handing)
{
    struct handing **at = &handing->lab->handings;
    while (*at != handing)
        at = &(*at)->next;
    *at = handing->next;
    queued_destroy(&handing->queued);
    timer_free(&handing->again);
    free(handing);
}

static void done(struct writer_job *job)
{
    struct handing *handing = (struct handing *)job;
    if (!job->is_committed) {
        timer_set(handing->again, LAB_AGAIN_MS);
        return;
    }
    tell_taken(handing->lab, handing->queued);
    handing->lab->left--;
    relay_accept(handing->lab->relay, handing->queued);
    handing->queued = NULL;
    handing_free(handing);
}

static void hand_over(struct lab *lab, struct queued *queued)
{
    struct handing *handing = mem_alloc(sizeof *handing);
    *handing = (struct handing){.job = {.apply = apply, .done = done, .post = lab->post}, .lab = lab, .queued = queued,
                                .next = lab->handings};
    lab->handings = handing;
    handing->again = timer_make(lab->base, submit, handing);
    lab->left++;
    submit(handing);
}

static void tell_refused(struct lab *lab, struct slice name, const char *reason)
{
    struct event event = EVENT(EVENT_REFUSED);
    event.pickup = name;
    event.reason = slice_of(reason);
    event_put(lab->log, &event);
}

static void send_one(struct lab *lab, const struct lab_send *send, int number)
{
    struct arena arena = {0};
    struct buf file = {0};
    struct prepared prepared = {.content = {0}};
    struct error error;
    int64_t now_ms = clock_wall_ms();
    struct slice name = arena_printf(&arena, "%s-%d.eml", *send->name ? send->name : "message", number + 1);
    struct prepare_about about = {.name = name, .owner = SLICE("lab"), .id = ids_next(&lab->ids, now_ms), .time_ms = now_ms};
    compose(send, number, now_ms, &file);
    if (prepare_message(&arena, lab->config, buf_slice(&file), &about, &prepared, &error) == CONTENT_DONE) {
        struct queued *queued = prepare_queued(&arena, lab->config, &prepared, &about);
        if (!queued->message.is_in_file || store_body_write(lab->queue_dir, about.id, buf_slice(&prepared.content), &error))
            hand_over(lab, queued);
        else
            tell_refused(lab, name, error.text);
    } else {
        tell_refused(lab, name, error.text);
    }
    buf_finish(&prepared.content);
    buf_finish(&file);
    arena_finish(&arena);
}

static void on_time(void *arg)
{
    struct sending *sending = arg;
    do
        send_one(sending->lab, sending->send, sending->number++);
    while (sending->number < sending->send->count && sending->send->every_ms == 0);
    if (sending->number < sending->send->count)
        timer_set(sending->timer, sending->send->every_ms);
    else
        sending->lab->left--;
}

void lab_mail_start(struct lab *lab)
{
    const struct scenario *scenario = lab->play.scenario;
    lab->sendings = mem_alloc((scenario->send_count + 1) * sizeof *lab->sendings);
    for (size_t i = 0; i < scenario->send_count; i++) {
        struct sending *sending = &lab->sendings[i];
        *sending = (struct sending){.lab = lab, .send = &scenario->sends[i]};
        sending->timer = timer_make(lab->base, on_time, sending);
        timer_set(sending->timer, sending->send->at_ms);
        lab->left++;
    }
}

void lab_mail_end(struct lab *lab)
{
    for (size_t i = 0; lab->sendings && i < lab->play.scenario->send_count; i++)
        timer_free(&lab->sendings[i].timer);
    free(lab->sendings);
    while (lab->handings)
        handing_free(lab->handings);
}
