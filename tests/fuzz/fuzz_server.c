/* A client that says anything, cut anywhere: replies are whole lines, what is stored is canonical and no larger than allowed,
 * the envelope holds no line end, and no recipient of a stranger's is outside our domain. */
#include "smtpd/server.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MESSAGE_SIZE = 20000 };

static void check_envelope(const struct server *server)
{
    const struct submission *submission = server_submission(server);
    CHECK(submission->recipient_count > 0);
    for (size_t i = 0; i < submission->recipient_count; i++) {
        struct slice address = submission->recipients[i].address;
        CHECK(server->is_authenticated || (slice_ends_nocase(address, SLICE("@ours.test")) && slice_find_byte(address, '%') < 0));
        CHECK(slice_find_byte(address, '\n') < 0 && slice_find_byte(address, '\r') < 0);
    }
}

static void check_content(struct slice bytes)
{
    CHECK(bytes.size <= MESSAGE_SIZE + 2);
    for (size_t i = 0; i < bytes.size; i++) {
        CHECK(bytes.data[i] != '\0');
        CHECK(bytes.data[i] != '\n' || (i && bytes.data[i - 1] == '\r'));
        CHECK(bytes.data[i] != '\r' || i + 1 == bytes.size || bytes.data[i + 1] == '\n');
    }
}

static void check_replies(struct buf *output)
{
    for (size_t i = 0; i < output->size; i++)
        CHECK(output->data[i] != '\n' || (i && output->data[i - 1] == '\r'));
    CHECK(output->size == 0 || output->data[output->size - 1] == '\n');
    buf_clear(output);
}

static void serve(struct server *server)
{
    for (;;) {
        check_replies(&server->output);
        switch (server->want) {
        case SERVER_STORE:
            check_envelope(server);
            check_content(server->store.bytes);
            server_stored(server, server->now_ms % 3, SLICE("name"));
            break;
        case SERVER_TLS:
            server_secured(server, "TLSv1.3");
            break;
        case SERVER_AUTH:
            server_auth(server, server->auth.response.size % 2 ? AUTH_REFUSED : AUTH_CHALLENGE, SLICE("AAAA"));
            break;
        case SERVER_ASK:
            server_asked(server, ASKED_STARTED, 2);
            break;
        case SERVER_PAUSE:
            server_resume(server);
            break;
        case SERVER_READ:
        case SERVER_CLOSE:
            return;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char *domains[] = {(char *)"ours.test"};
    struct policy policy = {.domains = {domains, 1}};
    struct server_options options = {
        .host = "me", .policy = &policy, .default_domain = SLICE("me.test"), .message_size = MESSAGE_SIZE, .header_size = 1000,
        .header_count = 50, .hops = 5, .recipients = 10, .messages = 10, .errors = 50, .tarpit_ms = 1, .mechanisms = "PLAIN",
        .is_tls_offered = size % 2,
    };
    struct server_client client = {.is_loopback = true, .may_xclient = size % 7 == 0};
    struct server server;
    server_init(&server, &options, &client);
    server_greet(&server, NULL);
    serve(&server);
    /* What the first octet says about the pieces, so that the fuzzer can cut as it likes. */
    size_t piece = size ? 1 + data[0] % 64 : 1;
    for (size_t at = 1; at < size && server.want == SERVER_READ;) {
        size_t used, part = piece < size - at ? piece : size - at;
        (void)server_feed(&server, slice_make((const char *)data + at, part), (int64_t)at, 0, &used);
        CHECK(used == part || server.want != SERVER_READ);
        at += used;
        serve(&server);
    }
    server_finish(&server);
    return 0;
}
