#include "config/keys.h"

#include "base/check.h"
#include "config/config.h"

#include <stddef.h>

#define AT(field) offsetof(struct config, field)
#define DAY_MS (24 * 3600 * 1000LL)
#define MB (1024 * 1024LL)

static const char *const dots_names[] = {"auto", "never", "always", NULL};
static const char *const x_lines_names[] = {"leading", "anywhere", NULL};
static const char *const tls_names[] = {"never", "may", "must", NULL};
static const char *const unknown_names[] = {"retry", "hold", NULL};
static const char *const store_names[] = {"sqlite", NULL};

const struct config_key config_keys[] = {
    {"root", KEY_TEXT, AT(root), 0, 0, "/var/lib/mailroot", NULL},
    {"user", KEY_TEXT, AT(user), 0, 0, "mailroot", NULL},
    {"hostname", KEY_DOMAIN, AT(hostname), 0, 0, NULL, NULL},
    {"default_domain", KEY_DOMAIN, AT(default_domain), 0, 0, NULL, NULL},
    {"default_sender", KEY_TEXT, AT(default_sender), 0, 0, NULL, NULL},
    {"shutdown_timeout", KEY_DURATION, AT(shutdown_ms), 0, DAY_MS, "30s", NULL},
    {"store", KEY_ENUM, AT(store), 0, 0, "sqlite", store_names},
    {"pickup.dir", KEY_TEXT, AT(pickup.dir), 0, 0, NULL, NULL},
    {"pickup.scan_interval", KEY_DURATION, AT(pickup.scan_ms), 50, DAY_MS, "10s", NULL},
    {"pickup.settle", KEY_DURATION, AT(pickup.settle_ms), 0, DAY_MS, "2s", NULL},
    {"pickup.dot_stuffing", KEY_ENUM, AT(pickup.dots), 0, 0, "auto", dots_names},
    {"pickup.x_lines", KEY_ENUM, AT(pickup.x_lines), 0, 0, "anywhere", x_lines_names},
    {"pickup.batch_max", KEY_INT, AT(pickup.batch_max), 1, 512, "256", NULL},
    {"limits.message_size", KEY_SIZE, AT(limits.message_size), 1024, 2048 * MB, "50MB", NULL},
    {"limits.header_size", KEY_SIZE, AT(limits.header_size), 1024, 64 * MB, "256KB", NULL},
    {"limits.header_count", KEY_INT, AT(limits.header_count), 10, 1000000, "2000", NULL},
    {"limits.recipients", KEY_INT, AT(limits.recipients), 1, 1000000, "10000", NULL},
    {"limits.hops", KEY_INT, AT(limits.hops), 1, 1000, "100", NULL},
    {"limits.active", KEY_INT, AT(limits.active), 1, 10000000, "20000", NULL},
    {"limits.content_memory", KEY_SIZE, AT(limits.content_memory), MB, 65536 * MB, "64MB", NULL},
    {"queue.retry_first", KEY_DURATION, AT(queue.schedule.retry_ms[0]), 10, 30 * DAY_MS, "5m", NULL},
    {"queue.retry_second", KEY_DURATION, AT(queue.schedule.retry_ms[1]), 10, 30 * DAY_MS, "15m", NULL},
    {"queue.retry_third", KEY_DURATION, AT(queue.schedule.retry_ms[2]), 10, 30 * DAY_MS, "30m", NULL},
    {"queue.retry_subsequent", KEY_DURATION, AT(queue.schedule.retry_ms[3]), 10, 30 * DAY_MS, "1h", NULL},
    {"queue.delay_notice", KEY_DURATION, AT(queue.schedule.delay_notice_ms), 0, 30 * DAY_MS, "4h", NULL},
    {"queue.expire", KEY_DURATION, AT(queue.schedule.expire_ms), 10, 30 * DAY_MS, "4d", NULL},
    {"queue.null_sender_expire", KEY_DURATION, AT(queue.null_expire_ms), 10, 30 * DAY_MS, "1d", NULL},
    {"queue.jitter", KEY_INT, AT(queue.schedule.jitter_percent), 0, 50, "10", NULL},
    {"queue.answer_unknown", KEY_ENUM, AT(queue.unknown), 0, 0, "retry", unknown_names},
    {"dns.servers", KEY_LIST, AT(dns.servers), 0, 0, NULL, NULL},
    {"dns.timeout", KEY_DURATION, AT(dns.timeout_ms), 100, DAY_MS, "20s", NULL},
    {"dns.allow_private", KEY_BOOL, AT(dns.is_private_allowed), 0, 0, "false", NULL},
    {"dns.ipv6", KEY_BOOL, AT(dns.is_ipv6), 0, 0, "true", NULL},
    {"dns.ipv4", KEY_BOOL, AT(dns.is_ipv4), 0, 0, "true", NULL},
    {"dns.trust_anchor", KEY_TEXT, AT(dns.trust_anchor), 0, 0, NULL, NULL},
    {"dns.hosts", KEY_LIST, AT(dns.hosts), 0, 0, NULL, NULL},
    {"delivery.port", KEY_INT, AT(delivery.port), 1, 65535, "25", NULL},
    {"delivery.connections", KEY_INT, AT(delivery.connections_max), 1, 100000, "1000", NULL},
    {"delivery.connections_per_site", KEY_INT, AT(delivery.connections_per_site), 1, 10000, "50", NULL},
    {"delivery.messages_per_connection", KEY_INT, AT(delivery.messages_per_connection), 1, 10000000, "1000", NULL},
    {"delivery.recipients_per_message", KEY_INT, AT(delivery.recipients_per_message), 1, 10000, "100", NULL},
    {"delivery.source", KEY_LIST, AT(delivery.sources), 0, 0, NULL, NULL},
    {"delivery.helo", KEY_DOMAIN, AT(delivery.helo), 0, 0, NULL, NULL},
    {"delivery.tls", KEY_ENUM, AT(delivery.tls), 0, 0, "may", tls_names},
    {"delivery.chunking", KEY_BOOL, AT(delivery.is_chunking), 0, 0, "true", NULL},
    {"delivery.pipelining", KEY_BOOL, AT(delivery.is_pipelining), 0, 0, "true", NULL},
    {"delivery.rate", KEY_RATE, AT(delivery.rate_interval_ms), 0, 0, NULL, NULL},
    {"delivery.idle_timeout", KEY_DURATION, AT(delivery.idle_ms), 0, DAY_MS, "5s", NULL},
    {"delivery.timeouts.connect", KEY_DURATION, AT(delivery.timeout_ms.connect), 100, DAY_MS, "30s", NULL},
    {"delivery.timeouts.greeting", KEY_DURATION, AT(delivery.timeout_ms.greeting), 1000, DAY_MS, "5m", NULL},
    {"delivery.timeouts.ehlo", KEY_DURATION, AT(delivery.timeout_ms.ehlo), 1000, DAY_MS, "5m", NULL},
    {"delivery.timeouts.mail", KEY_DURATION, AT(delivery.timeout_ms.mail), 1000, DAY_MS, "5m", NULL},
    {"delivery.timeouts.rcpt", KEY_DURATION, AT(delivery.timeout_ms.rcpt), 1000, DAY_MS, "5m", NULL},
    {"delivery.timeouts.data", KEY_DURATION, AT(delivery.timeout_ms.data), 1000, DAY_MS, "2m", NULL},
    {"delivery.timeouts.block", KEY_DURATION, AT(delivery.timeout_ms.block), 1000, DAY_MS, "3m", NULL},
    {"delivery.timeouts.final", KEY_DURATION, AT(delivery.timeout_ms.final), 1000, DAY_MS, "10m", NULL},
    {"delivery.timeouts.quit", KEY_DURATION, AT(delivery.timeout_ms.quit), 1000, DAY_MS, "30s", NULL},
    {"delivery.timeouts.tls", KEY_DURATION, AT(delivery.timeout_ms.tls), 1000, DAY_MS, "1m", NULL},
    {"bounce.copy_to", KEY_TEXT, AT(bounce.copy_to), 0, 0, NULL, NULL},
    {"bounce.from", KEY_TEXT, AT(bounce.from), 0, 0, NULL, NULL},
    {"bounce.returned_size", KEY_SIZE, AT(bounce.returned_size), 0, 100 * MB, "50KB", NULL},
    {"events.file", KEY_TEXT, AT(events.file), 0, 0, "Log/events.jsonl", NULL},
    {"events.stdout", KEY_BOOL, AT(events.is_stdout), 0, 0, "false", NULL},
    {"events.rotate_size", KEY_SIZE, AT(events.rotate_size), 0, 1024 * 1024 * MB, "100MB", NULL},
    {"events.keep", KEY_INT, AT(events.keep), 1, 1000, "10", NULL},
    {"local.domains", KEY_LIST, AT(local.domains), 0, 0, NULL, NULL},
    {"local.aliases", KEY_TEXT, AT(local.alias_file), 0, 0, NULL, NULL},
    {"receipts.enabled", KEY_BOOL, AT(receipts.is_on), 0, 0, "false", NULL},
    {"receipts.dir", KEY_TEXT, AT(receipts.dir), 0, 0, NULL, NULL},
};

const size_t config_key_count = COUNT_OF(config_keys);
