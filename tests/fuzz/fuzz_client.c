/* A server that says anything, cut anywhere: each of three recipients gets exactly one result, and no line of ours is forged. */
#include "smtp/client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = {0};
    struct smtp_recipient recipients[3] = {{.address = SLICE("a@x")}, {.address = SLICE("b@x")}, {.address = SLICE("c@x")}};
    struct smtp_transaction transaction = {.arena = &arena, .sender = SLICE("s@x"), .body_size = 5,
                                           .recipients = recipients, .recipient_count = 3};
    struct smtp_client_options options = {.helo_name = "me", .tls = size % 3, .timeouts = {1, 1, 1, 1, 1, 1, 1, 1, 1}};
    struct smtp_client *client = smtp_client_create(&options, 0);
    bool was_sent = false;
    size_t at = 0;
    while (smtp_client_want(client) != WANT_CLOSE) {
        struct buf *out = smtp_client_output(client);
        for (size_t i = 0; i < out->size; i++)
            CHECK(out->data[i] != '\n' || (i && out->data[i - 1] == '\r'));
        buf_clear(out);
        if (smtp_client_want(client) == WANT_MESSAGE && !was_sent) {
            smtp_client_send(client, &transaction, 0);
            was_sent = true;
        } else if (smtp_client_want(client) == WANT_MESSAGE) {
            smtp_client_quit(client, 0);
        } else if (smtp_client_want(client) == WANT_BODY) {
            smtp_client_body_queued(client, 0);
        } else if (smtp_client_want(client) == WANT_TLS && size % 2) {
            smtp_client_secured(client, 0);
        } else if (at < size) {
            size_t piece = 1 + data[at] % 40;
            if (piece > size - at)
                piece = size - at;
            smtp_client_feed(client, slice_make((const char *)data + at, piece), 0);
            at += piece;
        } else {
            smtp_client_lost(client, "closed", 0);
        }
    }
    CHECK(transaction.is_settled == was_sent);
    for (size_t i = 0; was_sent && i < 3; i++)
        CHECK(recipients[i].result.kind != RESULT_UNSET && recipients[i].result.status[0]);
    smtp_client_destroy(&client);
    arena_finish(&arena);
    return 0;
}
