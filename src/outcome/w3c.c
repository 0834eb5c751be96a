#include "outcome/w3c.h"

#include "base/mem.h"
#include "config/w3c.h"
#include "os/file.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { NAME_SIZE = 32, NUMBER_MAX = 1000000, QUERY_SIZE_MAX = 1024 };

struct w3c_log {
    char *dir, *hostname;
    enum w3c_period period;
    enum w3c_format format;
    uint64_t rotate_size, file_size;
    enum w3c_field fields[W3C_FIELD_COUNT];
    size_t field_count;
    int fd;
    char name[NAME_SIZE];      /* of the open file */
    unsigned number;           /* of extendN.log */
    struct buf lines;          /* of the file `name`, not yet written */
    bool is_lossy;
};

static const enum w3c_field standard_fields[] = {W3C_DATE,   W3C_TIME,  W3C_CLIENT_IP, W3C_USER, W3C_SITE,  W3C_COMPUTER,
                                                 W3C_METHOD, W3C_STEM,  W3C_QUERY,     W3C_STATUS, W3C_SENT, W3C_TAKEN};

/* ---- files ---- */

void w3c_file_name(enum w3c_format format, enum w3c_period period, int64_t wall_ms, unsigned number, char *ret_name, size_t size)
{
    static const char *const prefixes[] = {"ex", "nc", "in"}, *const whole[] = {"extend", "ncsa", "inetsv"};
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm utc;
    (void)gmtime_r(&seconds, &utc);
    const char *prefix = prefixes[format];
    int year = utc.tm_year % 100, month = utc.tm_mon + 1;
    switch (period) {
    case W3C_DAILY:
        (void)snprintf(ret_name, size, "%s%02d%02d%02d.log", prefix, year, month, utc.tm_mday);
        break;
    case W3C_HOURLY:
        (void)snprintf(ret_name, size, "%s%02d%02d%02d%02d.log", prefix, year, month, utc.tm_mday, utc.tm_hour);
        break;
    case W3C_WEEKLY: /* IIS: the week of the month */
        (void)snprintf(ret_name, size, "%s%02d%02d%02d.log", prefix, year, month, (utc.tm_mday - 1) / 7 + 1);
        break;
    case W3C_MONTHLY:
        (void)snprintf(ret_name, size, "%s%02d%02d.log", prefix, year, month);
        break;
    case W3C_BY_SIZE:
        (void)snprintf(ret_name, size, "%s%u.log", whole[format], number);
        break;
    }
}

static void put_head(struct w3c_log *log, int64_t wall_ms)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm utc;
    char date[32];
    if (log->format != W3C_EXTENDED)
        return;
    (void)gmtime_r(&seconds, &utc);
    (void)strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S", &utc);
    buf_printf(&log->lines, "#Software: mailroot " MAILROOT_VERSION "\r\n#Version: 1.0\r\n#Date: %s\r\n#Fields:", date);
    for (size_t i = 0; i < log->field_count; i++)
        buf_printf(&log->lines, " %s", w3c_field_name(log->fields[i]));
    buf_append_text(&log->lines, "\r\n");
}

static bool open_file(struct w3c_log *log, const char *name)
{
    char path[4200];
    struct stat is;
    (void)snprintf(path, sizeof path, "%s/%s", log->dir, name);
    if (log->fd >= 0)
        close(log->fd);
    log->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
    log->file_size = log->fd >= 0 && fstat(log->fd, &is) == 0 ? (uint64_t)is.st_size : 0;
    (void)snprintf(log->name, sizeof log->name, "%s", log->fd >= 0 ? name : "");
    return log->fd >= 0;
}

/* extendN.log: the last one there is, or the one behind it when that is full. */
static unsigned number_now(const struct w3c_log *log)
{
    char path[4200], name[NAME_SIZE];
    struct stat is;
    unsigned number = log->number ? log->number : 1;
    for (; number < NUMBER_MAX; number++) {
        w3c_file_name(log->format, W3C_BY_SIZE, 0, number, name, sizeof name);
        (void)snprintf(path, sizeof path, "%s/%s", log->dir, name);
        if (stat(path, &is) != 0 || (uint64_t)is.st_size < log->rotate_size)
            break;
    }
    return number;
}

bool w3c_flush(struct w3c_log *log)
{
    struct error error;
    bool is_whole = !log->is_lossy;
    log->is_lossy = false;
    if (log->lines.size == 0)
        return is_whole;
    if (log->fd < 0 || !file_write_all(log->fd, buf_slice(&log->lines), &error))
        is_whole = false;
    else
        log->file_size += log->lines.size;
    buf_clear(&log->lines);
    return is_whole;
}

/* The file for a line of this moment is open; what was for another one is written there first. */
static void turn_over(struct w3c_log *log, int64_t wall_ms)
{
    char name[NAME_SIZE];
    bool is_full = log->period == W3C_BY_SIZE && log->file_size + log->lines.size >= log->rotate_size;
    if (is_full && log->fd >= 0) {
        log->is_lossy = !w3c_flush(log) || log->is_lossy;
        log->number = number_now(log);
    }
    w3c_file_name(log->format, log->period, wall_ms, log->number, name, sizeof name);
    if (log->fd >= 0 && strcmp(name, log->name) == 0)
        return;
    log->is_lossy = !w3c_flush(log) || log->is_lossy;
    if (open_file(log, name))
        put_head(log, wall_ms);
}

/* ---- lines ---- */

static void put_text(struct w3c_log *log, struct slice text)
{
    static const char *const partings[] = {[W3C_EXTENDED] = "", [W3C_NCSA] = "\"", [W3C_IIS] = ","};
    struct buf *out = &log->lines;
    if (text.size == 0)
        buf_append_byte(out, '-');
    for (size_t i = 0; i < text.size && i < QUERY_SIZE_MAX; i++) {
        unsigned char c = (unsigned char)text.data[i];
        bool parts = text.data[i] == partings[log->format][0];
        buf_append_byte(out, c == ' ' ? '+' : c < 0x20 || c == 0x7f || parts ? '?' : (char)c);
    }
}

/* "192.0.2.1:25" and "[2001:db8::1]:25" without the port. */
static struct slice ip_of(struct slice address, struct slice *ret_port)
{
    size_t end = address.size;
    while (end > 0 && address.data[end - 1] != ':')
        end--;
    *ret_port = end ? slice_from(address, end) : SLICE("");
    struct slice ip = end ? slice_first(address, end - 1) : address;
    if (ip.size > 2 && ip.data[0] == '[' && ip.data[ip.size - 1] == ']')
        ip = slice_make(ip.data + 1, ip.size - 2);
    return ip;
}

static struct slice method_of(const struct event *event)
{
    static const struct { const char *stage, *method; } methods[] = {
        {"greeting", "-"},  {"connect", "-"},  {"ehlo", "EHLO"}, {"starttls", "STARTTLS"}, {"tls", "STARTTLS"},
        {"auth", "AUTH"},   {"mail", "MAIL"},  {"rcpt", "RCPT"}, {"data", "DATA"},         {"body", "DATA"},
        {"final", "DATA"},  {"drop", "DROP"},  {"maildir", "MAILDIR"},
    };
    if (event->kind == EVENT_COMMAND)
        return event->note;
    if (event->kind == EVENT_TAKEN || event->kind == EVENT_REFUSED)
        return SLICE("PICKUP");
    if (event->kind == EVENT_CONNECTED)
        return SLICE("EHLO");
    if (event->kind == EVENT_DISCONNECTED)
        return SLICE("QUIT");
    for (size_t i = 0; i < COUNT_OF(methods); i++)
        if (slice_equals(event->stage, slice_of(methods[i].stage)))
            return slice_of(methods[i].method);
    return SLICE("-");
}

static int status_of(const struct event *event)
{
    if (event->code)
        return event->code;
    switch (event->kind) {
    case EVENT_TAKEN:
    case EVENT_DELIVERED:
        return 250;
    case EVENT_REFUSED:
    case EVENT_BOUNCED:
    case EVENT_EXPIRED:
        return 550;
    case EVENT_DEFERRED:
    case EVENT_UNKNOWN:
        return 451;
    default:
        return 0;
    }
}

static void put_query(struct w3c_log *log, const struct event *event)
{
    struct buf text = {0};
    if (event->kind == EVENT_COMMAND && event->reason.size)
        buf_printf(&text, "+%.*s", SLICE_FMT(event->reason));
    else if (event->kind == EVENT_TAKEN || event->kind == EVENT_REFUSED)
        buf_printf(&text, "+FROM:<%.*s>", SLICE_FMT(event->sender));
    else if (!slice_is_absent(event->recipient))
        buf_printf(&text, "+TO:<%.*s>", SLICE_FMT(event->recipient));
    put_text(log, buf_slice(&text));
    buf_finish(&text);
}

/* "IPv6:2001:db8::1", as in a Received line, without its mark. */
static struct slice client_of(const struct event *event)
{
    bool is_v6 = slice_starts(event->client, SLICE("IPv6:"));
    return is_v6 ? slice_from(event->client, 5) : event->client;
}

static void put_field(struct w3c_log *log, enum w3c_field field, const struct event *event, const struct tm *utc)
{
    struct buf *out = &log->lines;
    struct slice port, ip = ip_of(event->address, &port);
    bool is_outbound = !slice_is_absent(event->address);
    char text[32];
    switch (field) {
    case W3C_DATE:
        (void)strftime(text, sizeof text, "%Y-%m-%d", utc);
        put_text(log, slice_of(text));
        break;
    case W3C_TIME:
        (void)strftime(text, sizeof text, "%H:%M:%S", utc);
        put_text(log, slice_of(text));
        break;
    case W3C_CLIENT_IP: put_text(log, is_outbound ? ip : client_of(event)); break;
    case W3C_USER: put_text(log, is_outbound ? SLICE("OutboundConnectionCommand") : event->helo); break;
    case W3C_SITE: put_text(log, SLICE("SMTPSVC1")); break;
    case W3C_COMPUTER: put_text(log, slice_of(log->hostname)); break;
    case W3C_SERVER_PORT: put_text(log, port); break;
    case W3C_METHOD: put_text(log, method_of(event)); break;
    case W3C_STEM: put_text(log, event->pickup); break;
    case W3C_QUERY: put_query(log, event); break;
    case W3C_STATUS: buf_printf(out, "%d", status_of(event)); break;
    case W3C_WIN32: buf_append_byte(out, '0'); break;
    case W3C_SENT: buf_printf(out, "%lld", (long long)(event->kind == EVENT_COMMAND ? event->octets_out : event->size)); break;
    case W3C_RECEIVED: buf_printf(out, "%lld", (long long)event->octets_in); break;
    case W3C_TAKEN: buf_printf(out, "%lld", (long long)(event->transaction_ms > 0 ? event->transaction_ms : 0)); break;
    case W3C_VERSION: put_text(log, is_outbound || event->kind == EVENT_COMMAND ? SLICE("SMTP") : SLICE("")); break;
    case W3C_HOST: put_text(log, event->host); break;
    case W3C_SERVER_IP:
    case W3C_AGENT:
    case W3C_COOKIE:
    case W3C_REFERER:
    case W3C_FIELD_COUNT:
        buf_append_byte(out, '-');
        break;
    }
}

/* A line of the forms whose fields are fixed: a text (a time, by strftime(3)) and the field behind it. */
struct cell { const char *text; enum w3c_field field; };

static const struct cell ncsa_row[] = { /* host - user [time] "request" status octets */
    {"", W3C_CLIENT_IP}, {" - ", W3C_USER}, {" [%d/%b/%Y:%H:%M:%S +0000] \"", W3C_METHOD}, {" ", W3C_STEM}, {"?", W3C_QUERY},
    {" SMTP\" ", W3C_STATUS}, {" ", W3C_SENT}};
static const struct cell iis_row[] = {
    {"", W3C_CLIENT_IP}, {", ", W3C_USER}, {", %m/%d/%y, %H:%M:%S, ", W3C_SITE}, {", ", W3C_COMPUTER}, {", ", W3C_SERVER_IP},
    {", ", W3C_TAKEN}, {", ", W3C_RECEIVED}, {", ", W3C_SENT}, {", ", W3C_STATUS}, {", ", W3C_WIN32}, {", ", W3C_METHOD},
    {", ", W3C_STEM}, {", ", W3C_QUERY}};

static void put_row(struct w3c_log *log, const struct cell *row, size_t count, const struct event *event, const struct tm *utc)
{
    char text[64];
    for (size_t i = 0; i < count; i++) {
        if (row[i].text[0] && strftime(text, sizeof text, row[i].text, utc))
            buf_append_text(&log->lines, text);
        put_field(log, row[i].field, event, utc);
    }
    buf_append_text(&log->lines, log->format == W3C_IIS ? ",\r\n" : "\r\n");
}

static bool is_told(enum event_kind kind)
{
    switch (kind) {
    case EVENT_TAKEN:
    case EVENT_REFUSED:
    case EVENT_CONNECTED:
    case EVENT_DISCONNECTED:
    case EVENT_DELIVERED:
    case EVENT_DEFERRED:
    case EVENT_BOUNCED:
    case EVENT_EXPIRED:
    case EVENT_UNKNOWN:
    case EVENT_COMMAND:
        return true;
    default:
        return false;
    }
}

void w3c_put(struct w3c_log *log, const struct event *event, int64_t wall_ms)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm utc;
    if (!is_told(event->kind))
        return;
    (void)gmtime_r(&seconds, &utc);
    turn_over(log, wall_ms);
    if (log->format == W3C_NCSA) {
        put_row(log, ncsa_row, COUNT_OF(ncsa_row), event, &utc);
        return;
    }
    if (log->format == W3C_IIS) {
        put_row(log, iis_row, COUNT_OF(iis_row), event, &utc);
        return;
    }
    for (size_t i = 0; i < log->field_count; i++) {
        if (i)
            buf_append_byte(&log->lines, ' ');
        put_field(log, log->fields[i], event, &utc);
    }
    buf_append_text(&log->lines, "\r\n");
}

/* ---- life ---- */

bool w3c_open(const struct config *config, struct w3c_log **ret_log, struct error *error)
{
    *ret_log = NULL;
    if (!config->w3c.dir || !config->w3c.dir[0])
        return true;
    if (!file_make_folder(config->w3c.dir, 0750, error))
        return false;
    struct w3c_log *log = mem_alloc(sizeof *log);
    log->dir = mem_copy_text(config->w3c.dir);
    log->hostname = mem_copy_text(config->hostname);
    log->period = (enum w3c_period)config->w3c.period;
    log->format = (enum w3c_format)config->w3c.format;
    log->rotate_size = config->w3c.rotate_size;
    log->fd = -1;
    for (size_t i = 0; i < config->w3c.fields.count && log->field_count < W3C_FIELD_COUNT; i++)
        log->fields[log->field_count++] = w3c_field_find(slice_of(config->w3c.fields.items[i]));
    if (log->field_count == 0) {
        memcpy(log->fields, standard_fields, sizeof standard_fields);
        log->field_count = COUNT_OF(standard_fields);
    }
    log->number = log->period == W3C_BY_SIZE ? number_now(log) : 0;
    *ret_log = log;
    return true;
}

void w3c_close(struct w3c_log **log)
{
    struct w3c_log *l = *log;
    if (!l)
        return;
    (void)w3c_flush(l); /* at the end nobody could be told */
    if (l->fd >= 0)
        close(l->fd);
    buf_finish(&l->lines);
    free(l->dir);
    free(l->hostname);
    free(l);
    *log = NULL;
}
