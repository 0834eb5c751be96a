#include "outcome/tlsrpt.h"

#include "base/mem.h"
#include "os/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

enum { FILE_SIZE_MAX = 256 * 1024 * 1024, LINE_SIZE = 57, GZIP_WINDOW = 15 + 16 };

struct tlsrpt {
    char *queue_dir;
    char day[TLSRPT_DAY_SIZE];
    json_t *domains;
    bool is_changed;
};

/* ---- days and their files ---- */

void tlsrpt_day(int64_t time_ms, char ret_day[TLSRPT_DAY_SIZE])
{
    time_t seconds = (time_t)(time_ms / 1000);
    struct tm tm;
    (void)strftime(ret_day, TLSRPT_DAY_SIZE, "%Y-%m-%d", gmtime_r(&seconds, &tm));
}

static int open_folder(const char *queue_dir, struct error *error)
{
    char path[4200];
    (void)snprintf(path, sizeof path, "%s/tlsrpt", queue_dir);
    return file_make_folder(path, 0750, error) ? file_open_folder(path, error) : -1;
}

bool tlsrpt_write(const char *queue_dir, const char *day, const json_t *domains, struct error *error)
{
    char name[TLSRPT_DAY_SIZE + 8];
    int folder_fd = open_folder(queue_dir, error);
    (void)snprintf(name, sizeof name, "%s.json", day);
    if (folder_fd < 0)
        return false;
    bool is_done;
    if (json_object_size(domains) == 0) {
        is_done = unlinkat(folder_fd, name, 0) == 0 || access(name, F_OK) != 0;
    } else {
        char *text = json_dumps(domains, JSON_INDENT(1));
        is_done = text ? file_publish(folder_fd, name, slice_of(text), FILE_NO_SYNC, error) : error_set(error, "%s: no JSON", name);
        free(text);
    }
    close(folder_fd);
    return is_done;
}

json_t *tlsrpt_read(const char *queue_dir, const char *day, struct error *error)
{
    char path[4200];
    struct buf text = {0};
    json_error_t fault;
    json_t *domains = NULL;
    (void)snprintf(path, sizeof path, "%s/tlsrpt/%s.json", queue_dir, day);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        (void)error_set_errno(error, path);
        return NULL;
    }
    if (file_read(fd, FILE_SIZE_MAX, &text, error)) {
        domains = json_loadb(text.data ? text.data : "", text.size, 0, &fault);
        if (!json_is_object(domains)) {
            json_decref(domains);
            domains = NULL;
            (void)error_set(error, "%s: a JSON object was expected", path);
        }
    }
    close(fd);
    buf_finish(&text);
    return domains;
}

bool tlsrpt_next(const char *queue_dir, const char *after, const char *before, char ret_day[TLSRPT_DAY_SIZE])
{
    char path[4200];
    (void)snprintf(path, sizeof path, "%s/tlsrpt", queue_dir);
    DIR *folder = opendir(path);
    bool is_found = false;
    for (struct dirent *entry; folder && (entry = readdir(folder)) != NULL;) {
        bool is_day = strlen(entry->d_name) == 15 && strcmp(entry->d_name + 10, ".json") == 0 && entry->d_name[0] == '2';
        if (!is_day || strncmp(entry->d_name, after, 10) <= 0 || strncmp(entry->d_name, before, 10) >= 0
            || (is_found && strncmp(entry->d_name, ret_day, 10) >= 0))
            continue;
        memcpy(ret_day, entry->d_name, 10);
        ret_day[10] = '\0';
        is_found = true;
    }
    if (folder)
        closedir(folder);
    return is_found;
}

struct tlsrpt *tlsrpt_open(const char *queue_dir, int64_t now_ms, struct error *error)
{
    int folder_fd = open_folder(queue_dir, error);
    if (folder_fd < 0)
        return NULL;
    close(folder_fd);
    struct tlsrpt *t = mem_alloc(sizeof *t);
    t->queue_dir = mem_copy_text(queue_dir);
    tlsrpt_day(now_ms, t->day);
    t->domains = tlsrpt_read(queue_dir, t->day, NULL); /* unreadable or none: it is begun anew */
    if (!t->domains)
        t->domains = json_object();
    return t;
}

bool tlsrpt_save(struct tlsrpt *t, struct error *error)
{
    if (!t->is_changed)
        return true;
    t->is_changed = false;
    return tlsrpt_write(t->queue_dir, t->day, t->domains, error);
}

void tlsrpt_close(struct tlsrpt **tlsrpt)
{
    struct tlsrpt *t = *tlsrpt;
    if (!t)
        return;
    (void)!tlsrpt_save(t, NULL);
    json_decref(t->domains);
    free(t->queue_dir);
    free(t);
    *tlsrpt = NULL;
}

/* ---- counting ---- */

static void add_to(json_t *object, const char *key, json_int_t count)
{
    json_t *number = json_object_get(object, key);
    (void)json_integer_set(number, json_integer_value(number) + count);
}

static void put(json_t *object, const char *key, const char *text)
{
    if (text && text[0])
        (void)json_object_set_new(object, key, json_string(text));
}

/* The domain's entry of that policy, made if there is none. Takes what the policy holds. */
static json_t *entry_get(json_t *policies, const struct tlsrpt_policy *policy, const char *domain)
{
    json_t *about = json_pack("{s:s, s:s}", "policy-type", policy->type, "policy-domain", domain), *entry;
    size_t i;
    if (policy->strings)
        json_object_set_new(about, "policy-string", policy->strings);
    if (policy->hosts)
        json_object_set_new(about, "mx-host", policy->hosts);
    json_array_foreach(policies, i, entry) {
        if (json_equal(json_object_get(entry, "policy"), about)) {
            json_decref(about);
            return entry;
        }
    }
    entry = json_pack("{s:o, s:{s:i, s:i}, s:[]}", "policy", about, "summary", "total-successful-session-count", 0,
                      "total-failure-session-count", 0, "failure-details");
    (void)json_array_append_new(policies, entry);
    return entry;
}

static void count_failure(json_t *details, const struct tlsrpt_failure *failure)
{
    json_t *new = json_object(), *detail;
    size_t i;
    put(new, "result-type", failure->type);
    put(new, "sending-mta-ip", failure->sending_ip);
    put(new, "receiving-mx-hostname", failure->host);
    put(new, "receiving-ip", failure->receiving_ip);
    put(new, "failure-reason-code", failure->reason);
    json_array_foreach(details, i, detail) {
        (void)json_object_set(new, "failed-session-count", json_object_get(detail, "failed-session-count"));
        if (json_equal(new, detail) || i + 1 == TLSRPT_DETAILS_MAX) {
            json_decref(new);
            add_to(detail, "failed-session-count", 1);
            return;
        }
    }
    (void)json_object_set_new(new, "failed-session-count", json_integer(1));
    (void)json_array_append_new(details, new);
}

bool tlsrpt_count(struct tlsrpt *t, const char *domain, const struct tlsrpt_policy *policy, const struct tlsrpt_failure *failure,
                  int64_t now_ms)
{
    char day[TLSRPT_DAY_SIZE];
    tlsrpt_day(now_ms, day);
    if (strcmp(day, t->day) != 0) {
        (void)!tlsrpt_save(t, NULL); /* what can't be saved of yesterday is lost: reports are no mail */
        json_decref(t->domains);
        t->domains = json_object();
        memcpy(t->day, day, sizeof day);
    }
    json_t *policies = json_object_get(t->domains, domain);
    if (!policies && json_object_size(t->domains) < TLSRPT_DOMAINS_MAX) {
        policies = json_array();
        (void)json_object_set_new(t->domains, domain, policies);
    }
    if (!policies) {
        json_decref(policy->strings);
        json_decref(policy->hosts);
        return false;
    }
    json_t *entry = entry_get(policies, policy, domain);
    add_to(json_object_get(entry, "summary"), failure ? "total-failure-session-count" : "total-successful-session-count", 1);
    if (failure)
        count_failure(json_object_get(entry, "failure-details"), failure);
    t->is_changed = true;
    return true;
}

/* ---- the report ---- */

size_t tlsrpt_record_parse(struct arena *arena, struct slice text, const char *ret_rua[TLSRPT_RUA_MAX])
{
    size_t count = 0;
    if (!slice_equals(slice_trim(slice_cut(&text, ';')), SLICE("v=TLSRPTv1")))
        return 0;
    while (text.size) {
        struct slice value = slice_trim(slice_cut(&text, ';'));
        if (!slice_equals(slice_trim(slice_cut(&value, '=')), SLICE("rua")))
            continue;
        while (value.size && count < TLSRPT_RUA_MAX) {
            struct slice uri = slice_trim(slice_cut(&value, ','));
            if (slice_starts_nocase(uri, SLICE("mailto:")) || slice_starts_nocase(uri, SLICE("https://")))
                ret_rua[count++] = arena_text(arena, uri);
        }
        break;
    }
    return count;
}

static const char *or_else(const char *text, const char *otherwise) { return text ? text : otherwise; }

void tlsrpt_compose(const struct config *config, const char *domain, const json_t *policies, const char *day, const char *report_id,
                    struct buf *out)
{
    char start[32], end[32], contact[300];
    (void)domain;
    (void)snprintf(start, sizeof start, "%sT00:00:00Z", day);
    (void)snprintf(end, sizeof end, "%sT23:59:59Z", day);
    (void)snprintf(contact, sizeof contact, "postmaster@%s", config->default_domain);
    json_t *report = json_pack("{s:s, s:{s:s, s:s}, s:s, s:s, s:O}", "organization-name",
                               or_else(config->tlsrpt.organization, config->default_domain), "date-range", "start-datetime", start,
                               "end-datetime", end, "contact-info", or_else(config->tlsrpt.contact, contact), "report-id", report_id,
                               "policies", policies);
    char *text = json_dumps(report, JSON_INDENT(2));
    buf_append_text(out, text ? text : "{}");
    buf_append_byte(out, '\n');
    free(text);
    json_decref(report);
}

bool tlsrpt_gzip(struct slice text, struct buf *out)
{
    z_stream stream = {.next_in = (unsigned char *)(uintptr_t)text.data, .avail_in = (unsigned)text.size};
    if (deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return false;
    size_t most = deflateBound(&stream, (unsigned long)text.size);
    stream.next_out = (unsigned char *)buf_reserve(out, most);
    stream.avail_out = (unsigned)most;
    bool is_done = deflate(&stream, Z_FINISH) == Z_STREAM_END;
    if (is_done)
        out->size += stream.total_out;
    (void)deflateEnd(&stream);
    return is_done;
}

static void put_base64(struct buf *out, struct slice bytes)
{
    unsigned char line[4 * (LINE_SIZE / 3 + 1) + 1];
    while (bytes.size) {
        size_t size = bytes.size < LINE_SIZE ? bytes.size : LINE_SIZE;
        (void)EVP_EncodeBlock(line, (const unsigned char *)bytes.data, (int)size);
        buf_printf(out, "%s\r\n", (const char *)line);
        bytes = slice_from(bytes, size);
    }
}

/* Seconds since 1970 of the day's begin, for the file's name. */
static long long day_start(const char *day)
{
    struct tm tm = {0};
    (void)strptime(day, "%Y-%m-%d", &tm);
    return (long long)timegm(&tm);
}

void tlsrpt_compose_mail(const struct config *config, const char *domain, const char *day, const char *report_id, const char *to,
                         struct slice gzipped, struct buf *out)
{
    char from[300];
    long long start = day_start(day);
    (void)snprintf(from, sizeof from, "smtp-tls-reporting@%s", config->default_domain);
    buf_printf(out, "From: <%s>\r\nTo: <%s>\r\n", or_else(config->tlsrpt.from, from), to);
    buf_printf(out, "Subject: Report Domain: %s\r\n Submitter: %s\r\n Report-ID: <%s>\r\n", domain, config->hostname, report_id);
    buf_printf(out, "TLS-Report-Domain: %s\r\nTLS-Report-Submitter: %s\r\n", domain, config->hostname);
    /* RFC 8460 3: what fails about TLS must not keep the report of it away. Mail with it is counted in no report. */
    buf_append_text(out, "TLS-Required: No\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n");
    buf_printf(out, "Content-Type: multipart/report; report-type=\"tlsrpt\"; boundary=\"=_%s\"\r\n\r\n", report_id);
    buf_printf(out, "--=_%s\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\nHow connections of %s to the mail hosts of %s were secured on %s (UTC).\r\n",
               report_id, config->hostname, domain, day);
    buf_printf(out, "\r\n--=_%s\r\nContent-Type: application/tlsrpt+gzip\r\nContent-Transfer-Encoding: base64\r\n", report_id);
    buf_printf(out, "Content-Disposition: attachment;\r\n filename=\"%s!%s!%lld!%lld!%s.json.gz\"\r\n\r\n", config->hostname, domain, start,
               start + 86399, report_id);
    put_base64(out, gzipped);
    buf_printf(out, "\r\n--=_%s--\r\n", report_id);
}
