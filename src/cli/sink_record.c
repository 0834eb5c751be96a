#include "cli/sink_record.h"

#include "base/json.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <unistd.h>

enum { LINES_SIZE_MAX = 256 * 1024 };

static struct slice header_value(struct slice content, struct slice name);
static struct slice received_id(struct slice content);
static void body_hash(struct slice content, char ret_text[65]);

enum sink_keep sink_record_keep(const struct sink_recorder *recorder)
{
    if (recorder->dir || recorder->is_hashing)
        return SINK_KEEP_ALL;
    return recorder->log_fd >= 0 ? SINK_KEEP_HEADER : SINK_KEEP_NOTHING;
}

static bool fd_write_all(int fd, struct slice bytes)
{
    while (bytes.size > 0) {
        ssize_t written = write(fd, bytes.data, bytes.size);
        if (written < 0)
            return false;
        bytes = slice_from(bytes, (size_t)written);
    }
    return true;
}

static void file_compose(const struct sink_message *message, struct slice content, struct buf *out)
{
    struct slice recipients = buf_slice(&message->recipients);

    buf_printf(out, "X-MailFrom: %.*s\r\n", SLICE_FMT(buf_slice(&message->sender)));
    while (recipients.size > 0)
        buf_printf(out, "X-RcptTo: %.*s\r\n", SLICE_FMT(slice_cut(&recipients, '\0')));
    buf_append(out, content);
}

static bool file_write(const char *dir, uint64_t number, struct slice bytes, struct error *error)
{
    char name[4096], part[4096 + 8];
    snprintf(name, sizeof name, "%s/%08llu.eml", dir, (unsigned long long)number);
    snprintf(part, sizeof part, "%s.part", name);

    int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    if (fd < 0)
        return error_set_errno(error, part);
    bool is_written = fd_write_all(fd, bytes);
    is_written = close(fd) == 0 && is_written;
    if (!is_written || rename(part, name) < 0)
        return error_set_errno(error, name);
    return true;
}

static void line_begin(const struct sink_recorder *recorder, const struct sink_message *message,
                       struct slice content, const char *tls, struct sink_receipt *receipt)
{
    struct buf *line = &receipt->line;
    struct slice recipients = buf_slice(&message->recipients);

    json_open(line, '{');
    json_put_number(line, "mail_us", message->mail_us);
    json_put_number(line, "dot_us", receipt->dot_us);
    json_put_text(line, "from", buf_slice(&message->sender));
    json_key(line, "rcpts");
    json_open(line, '[');
    while (recipients.size > 0)
        json_text(line, slice_cut(&recipients, '\0'));
    json_close(line, ']');
    json_put_number(line, "size", (int64_t)message->size);
    json_put_text(line, "token", header_value(content, SLICE("X-Token")));
    json_put_text(line, "id", received_id(content));
    json_put_text(line, "tls", slice_of(tls));
    if (recorder->is_hashing) {
        char hash[65];
        body_hash(content, hash);
        json_put_text(line, "body_sha256", slice_of(hash));
    }
}

bool sink_record_message(struct sink_recorder *recorder, struct sink_message *message,
                         const char *tls, struct sink_receipt *receipt, struct error *error)
{
    struct slice content = recorder->dir || recorder->is_hashing ? sink_unstuff(message)
                                                                 : buf_slice(&message->content);
    struct sink_totals *totals = &recorder->totals;

    pthread_mutex_lock(&recorder->mutex);
    uint64_t number = recorder->number++;
    if (totals->messages++ == 0)
        totals->first_us = receipt->dot_us;
    totals->last_us = receipt->dot_us;
    totals->recipients += message->recipient_count;
    totals->octets += message->size;
    pthread_mutex_unlock(&recorder->mutex);

    if (recorder->log_fd >= 0)
        line_begin(recorder, message, content, tls, receipt);
    if (!recorder->dir)
        return true;
    struct buf file = {0};
    file_compose(message, content, &file);
    bool is_written = file_write(recorder->dir, number, buf_slice(&file), error);
    buf_finish(&file);
    return is_written;
}

static void flush_locked(struct sink_recorder *recorder)
{
    if (recorder->lines.size > 0 && !fd_write_all(recorder->log_fd, buf_slice(&recorder->lines)))
        perror("mailroot sink: log");
    buf_clear(&recorder->lines);
}

void sink_record_answered(struct sink_recorder *recorder, struct sink_receipt *receipt,
                          int64_t reply_us)
{
    if (receipt->line.size == 0)
        return;
    if (reply_us != 0)
        json_put_number(&receipt->line, "reply_us", reply_us);
    json_close(&receipt->line, '}');
    buf_append_byte(&receipt->line, '\n');

    pthread_mutex_lock(&recorder->mutex);
    buf_append(&recorder->lines, buf_slice(&receipt->line));
    if (recorder->lines.size > LINES_SIZE_MAX)
        flush_locked(recorder);
    pthread_mutex_unlock(&recorder->mutex);
    buf_clear(&receipt->line);
}

void sink_record_flush(struct sink_recorder *recorder)
{
    if (recorder->log_fd < 0)
        return;
    pthread_mutex_lock(&recorder->mutex);
    flush_locked(recorder);
    pthread_mutex_unlock(&recorder->mutex);
}

void sink_record_print_totals(struct sink_recorder *recorder, struct buf *out)
{
    pthread_mutex_lock(&recorder->mutex);
    struct sink_totals totals = recorder->totals;
    pthread_mutex_unlock(&recorder->mutex);
    int64_t elapsed_us = totals.last_us - totals.first_us;
    uint64_t rate = elapsed_us > 0 ? (totals.messages - 1) * 1000000 / (uint64_t)elapsed_us : 0;

    json_open(out, '{');
    json_put_number(out, "messages", (int64_t)totals.messages);
    json_put_number(out, "recipients", (int64_t)totals.recipients);
    json_put_number(out, "octets", (int64_t)totals.octets);
    json_put_number(out, "connections", (int64_t)totals.connections);
    json_put_number(out, "most_open", (int64_t)totals.most_open);
    json_put_number(out, "dropped", (int64_t)totals.dropped);
    json_put_number(out, "rejected_recipients", (int64_t)totals.rejected);
    json_put_number(out, "first_us", totals.first_us);
    json_put_number(out, "last_us", totals.last_us);
    json_put_number(out, "per_second", (int64_t)rate);
    json_close(out, '}');
    buf_append_byte(out, '\n');
}

/* ---- looking into a message; good enough for what the relay itself writes, no parser ---- */

static struct slice header_part(struct slice content)
{
    ptrdiff_t end = slice_find(content, SLICE("\r\n\r\n"));

    return end < 0 ? content : slice_first(content, (size_t)end + 2);
}

/* The first line of the first such field, absent if there is none. */
static struct slice header_value(struct slice content, struct slice name)
{
    struct slice rest = header_part(content);

    while (rest.size > 0) {
        struct slice line = slice_cut(&rest, '\n');
        if (slice_starts_nocase(line, name) && line.size > name.size && line.data[name.size] == ':')
            return slice_trim(slice_from(line, name.size + 1));
    }
    return SLICE_NONE;
}

/* The word behind "id" in the topmost Received field (RFC 5321 4.4). */
static struct slice received_id(struct slice content)
{
    struct slice header = header_part(content);

    if (!slice_starts_nocase(header, SLICE("Received:")))
        return SLICE_NONE;
    struct slice words = header;
    ptrdiff_t end = slice_find_byte(header, ';');
    if (end >= 0)
        words = slice_first(header, (size_t)end);
    while (words.size > 0) {
        struct slice word = slice_trim(slice_cut(&words, ' '));
        /* the id may begin a folded line: "id" then ends one */
        if (slice_equals(word, SLICE("id")) || slice_ends_nocase(word, SLICE("\tid")))
            return slice_trim(slice_cut(&words, ' '));
    }
    return SLICE_NONE;
}

static void body_hash(struct slice content, char ret_text[65])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned digest_size = 0;
    ptrdiff_t end = slice_find(content, SLICE("\r\n\r\n"));
    struct slice body =
        end < 0 ? slice_from(content, content.size) : slice_from(content, (size_t)end + 4);

    CHECK(EVP_Digest(body.data, body.size, digest, &digest_size, EVP_sha256(), NULL) == 1);
    for (unsigned i = 0; i < digest_size; i++)
        snprintf(ret_text + 2 * i, 3, "%02x", digest[i]);
}
