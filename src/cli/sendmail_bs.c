#include "cli/sendmail_bs.h"

#include "cli/command.h"
#include "os/clock.h"
#include "os/file.h"
#include "smtpd/server.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

struct dialog {
    struct server server;
    struct pickup_folder *folder;
    struct pickup_file *file;
    bool is_lost;      /* nobody reads us */
    char last;         /* octet before the next one */
};

static void say(struct dialog *dialog)
{
    struct buf *output = &dialog->server.output;
    dialog->is_lost |= !file_write_all(STDOUT_FILENO, buf_slice(output), NULL);
    buf_clear(output);
}

static void store(struct dialog *dialog)
{
    struct server *server = &dialog->server;
    char name[PICKUP_WRITER_NAME_SIZE] = "";
    struct error error;
    errno = 0;
    if (!dialog->file)
        dialog->file = pickup_file_begin(dialog->folder, server_submission(server), &error);
    bool is_done = dialog->file && pickup_file_append(dialog->file, server->store.bytes, &error)
                   && (!server->store.is_last || pickup_file_commit(&dialog->file, name, &error));
    bool is_full = errno == ENOSPC || errno == EDQUOT;
    if (!is_done) {
        (void)command_fail("sendmail", 0, "%s", error.text);
        pickup_file_abandon(&dialog->file);
    }
    server_stored(server, is_done ? STORED_SAFE : is_full ? STORED_NO_SPACE : STORED_FAILED, slice_of(name));
}

static void feed(struct dialog *dialog, struct slice bytes)
{
    struct server *server = &dialog->server;
    while (bytes.size && server->want != SERVER_CLOSE && !dialog->is_lost) {
        size_t used;
        int64_t now_ms = clock_wall_ms();
        (void)server_feed(server, bytes, now_ms, clock_zone_s(now_ms), &used);
        bytes = slice_from(bytes, used);
        if (server->want == SERVER_STORE)
            store(dialog);
        if (dialog->file && !server->content.is_begun)
            pickup_file_abandon(&dialog->file);
        say(dialog);
    }
}

static void serve(struct dialog *dialog)
{
    char input[16 * 1024];
    struct buf lines = {0};
    ssize_t got;
    say(dialog);
    while (dialog->server.want != SERVER_CLOSE && !dialog->is_lost && (got = read(STDIN_FILENO, input, sizeof input)) != 0) {
        if (got < 0 && errno != EINTR)
            break;
        buf_clear(&lines);
        for (ssize_t i = 0; i < got; i++) {
            if (input[i] == '\n' && dialog->last != '\r')
                buf_append_byte(&lines, '\r');
            buf_append_byte(&lines, input[i]);
            dialog->last = input[i];
        }
        feed(dialog, buf_slice(&lines));
    }
    buf_finish(&lines);
}

int sendmail_bs(const struct config *config)
{
    static const struct policy nobody = {.domains = {NULL, 0}};
    struct server_options options = {
        .host = config->hostname, .policy = &nobody, .default_domain = slice_of(config->default_domain),
        .message_size = config->limits.message_size, .header_size = config->limits.header_size,
        .header_count = (size_t)config->limits.header_count, .hops = (size_t)config->limits.hops,
        .recipients = config->limits.recipients, .messages = INT32_MAX, .errors = config->smtp.errors, .is_local = true,
    };
    struct server_client client = {.address_text = "local", .may_relay = true};
    struct error error;
    struct dialog dialog = {.folder = pickup_folder_open(config->pickup.dir, &error)};
    if (!dialog.folder)
        return command_fail("sendmail", EX_TEMPFAIL, "%s", error.text);
    server_init(&dialog.server, &options, &client);
    server_greet(&dialog.server, NULL);
    serve(&dialog);
    pickup_file_abandon(&dialog.file);
    pickup_folder_close(&dialog.folder);
    server_finish(&dialog.server);
    return dialog.is_lost ? EX_IOERR : EX_OK;
}
