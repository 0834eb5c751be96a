#include "store/queued.h"

#include "base/mem.h"

#include <stdlib.h>

static size_t message_text_size(const struct store_message *m)
{
    return m->sender.size + m->envid.size + m->auth.size + m->pickup_name.size + m->owner.size
           + m->message_id.size + m->subject.size + m->policy.size;
}

static size_t recipient_text_size(const struct store_recipient *r)
{
    return r->address.size + r->domain.size + r->orcpt.size + r->last_status.size + r->last_reply.size
           + r->last_host.size + r->route.size;
}

static void keep(char **at, struct slice *text)
{
    if (slice_is_absent(*text))
        return;
    if (text->size)
        memcpy(*at, text->data, text->size);
    text->data = *at;
    *at += text->size;
}

static void keep_message(char **at, struct store_message *m)
{
    struct slice *texts[] = {&m->sender,      &m->envid,      &m->auth,   &m->pickup_name,
                             &m->owner, &m->message_id, &m->subject, &m->policy};
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        keep(at, texts[i]);
    m->content = SLICE_NONE;
}

static void keep_recipient(char **at, struct store_recipient *r)
{
    struct slice *texts[] = {&r->address,    &r->domain,    &r->orcpt, &r->last_status,
                             &r->last_reply, &r->last_host, &r->route};
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        keep(at, texts[i]);
}

struct queued *queued_create(const struct store_message *message,
                             const struct store_recipient *recipients, size_t count, char *taken_content)
{
    size_t texts = message_text_size(message) + 1;
    for (size_t i = 0; i < count; i++)
        texts += recipient_text_size(&recipients[i]);
    size_t head = sizeof(struct queued) + count * sizeof(struct store_recipient);
    struct queued *queued = mem_alloc(head + texts);
    char *at = (char *)queued + head;

    queued->content = taken_content;
    queued->message = *message;
    keep_message(&at, &queued->message);
    queued->recipient_count = queued->open_count = count;
    for (size_t i = 0; i < count; i++) {
        queued->recipients[i] = recipients[i];
        keep_recipient(&at, &queued->recipients[i]);
    }
    CHECK(at <= (char *)queued + head + texts);
    return queued;
}

bool queued_store(const struct queued *queued, struct store *store, struct error *error)
{
    struct store_message message = queued->message;
    if (!message.is_in_file)
        message.content = slice_make(queued->content, message.size);
    return store_add_message(store, &message, queued->recipients, queued->recipient_count, error);
}

void queued_destroy(struct queued **queued)
{
    if (!*queued)
        return;
    free((*queued)->content);
    free(*queued);
    *queued = NULL;
}
