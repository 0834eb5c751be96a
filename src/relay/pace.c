#include "relay/pace.h"

#include <stdio.h>

#define DAY_MS (24 * 3600 * 1000LL)
enum { RISE_PER_MINUTE = 6, INTERVAL_START_MS = 1000, INTERVAL_MAX_MS = 60 * 60 * 1000, INTERVAL_NONE_MS = 50, KEPT_SPAN_MS = 60 * 1000 };

/* ---- rates ---- */

/* What the span that ends now holds, counted in thousandths: the last one's share fades evenly. */
static int64_t used(const struct pace_count *count, int64_t span_ms, int64_t now_ms)
{
    int64_t age_ms = now_ms - count->start_ms;
    if (count->span_ms != span_ms || age_ms < 0 || age_ms >= 2 * span_ms)
        return 0;
    if (age_ms >= span_ms)
        return count->now * 1000LL * (2 * span_ms - age_ms) / span_ms;
    return count->now * 1000LL + count->before * 1000LL * (span_ms - age_ms) / span_ms;
}

static int64_t rate_wait_ms(const struct pace_count *count, const struct config_rate *rate, int64_t now_ms)
{
    int64_t over = used(count, rate->span_ms, now_ms) + 1000 - rate->count * 1000LL;
    if (over <= 0)
        return 0;
    int64_t age_ms = now_ms - count->start_ms;
    bool is_old = age_ms >= rate->span_ms;
    int64_t fading = is_old ? count->now : count->before;
    int64_t left_ms = is_old ? 2 * rate->span_ms - age_ms : rate->span_ms - age_ms;
    if (fading == 0 || over > fading * 1000LL * left_ms / rate->span_ms) { /* the present span must fade first */
        int64_t needed = count->now * 1000LL + 1000 - rate->count * 1000LL;
        return left_ms + (count->now && needed > 0 ? needed * rate->span_ms / (count->now * 1000LL) + 1 : 1);
    }
    return over * rate->span_ms / (fading * 1000LL) + 1;
}

static void count_one(struct pace_count *count, int64_t span_ms, int64_t now_ms)
{
    int64_t age_ms = now_ms - count->start_ms;
    if (count->span_ms != span_ms || age_ms < 0 || age_ms >= 2 * span_ms)
        *count = (struct pace_count){.span_ms = span_ms, .start_ms = now_ms};
    else if (age_ms >= span_ms)
        *count = (struct pace_count){span_ms, count->start_ms + span_ms, 0, count->now};
    count->now++;
}

static void span_text(int64_t ms, char ret_text[24])
{
    static const struct { int64_t ms; const char *unit; } units[] = {{DAY_MS, "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}};
    size_t i = 0;
    while (ms % units[i].ms)
        i++;
    (void)snprintf(ret_text, 24, "%lld%s", (long long)(ms / units[i].ms), units[i].unit);
}

static const struct config_rate *warmup_rate(const struct pace *pace, const struct config_warmup *warmup, int64_t now_ms,
                                             struct config_rate *ret_rate)
{
    int64_t day = pace->first_ms ? now_ms / DAY_MS - pace->first_ms / DAY_MS : 0;
    if (!warmup || day < 0 || day >= (int64_t)warmup->count)
        return NULL;
    *ret_rate = (struct config_rate){warmup->messages[day], DAY_MS};
    return ret_rate;
}

/* A warm-up counts by days of the calendar: its own day's messages, none of the day before. */
static int64_t warmup_wait_ms(const struct pace *pace, const struct config_rate *rate, int64_t now_ms)
{
    bool is_today = now_ms / DAY_MS == pace->day.start_ms / DAY_MS;
    return is_today && pace->day.now >= rate->count ? DAY_MS - now_ms % DAY_MS : 0;
}

/* This node's part of a rate: fewer messages, or one in a longer span (store/node.h N6). */
static struct config_rate share(const struct pace_limits *limits, const struct config_rate *rate)
{
    int nodes = (int)limits->nodes, count = rate->count;
    if (nodes < 2)
        return *rate;
    int mine = count / nodes + ((int)limits->rank < count % nodes);
    return mine ? (struct config_rate){mine, rate->span_ms} : (struct config_rate){1, rate->span_ms * ((nodes + count - 1) / count)};
}

int64_t pace_wait_ms(const struct pace *pace, const struct pace_limits *limits, int64_t now_ms, char ret_limit[64])
{
    struct config_rate warmup;
    char span[24];
    int64_t most_ms = 0;
    for (size_t i = 0; limits->rates && i < limits->rates->count; i++) {
        struct config_rate rate = share(limits, &limits->rates->items[i]);
        int64_t wait_ms = rate_wait_ms(&pace->counts[i], &rate, now_ms);
        if (wait_ms <= most_ms)
            continue;
        most_ms = wait_ms;
        span_text(limits->rates->items[i].span_ms, span);
        (void)snprintf(ret_limit, 64, "rate %d/%s", limits->rates->items[i].count, span);
    }
    if (warmup_rate(pace, limits->warmup, now_ms, &warmup) && (warmup.count = share(limits, &warmup).count) > 0
        && warmup_wait_ms(pace, &warmup, now_ms) > most_ms) {
        most_ms = warmup_wait_ms(pace, &warmup, now_ms);
        (void)snprintf(ret_limit, 64, "warm-up, %d today", warmup.count);
    }
    int64_t since_ms = now_ms - pace->last_sent_ms;
    if (pace->interval_ms && since_ms >= 0 && pace->interval_ms - since_ms > most_ms) {
        most_ms = pace->interval_ms - since_ms;
        (void)snprintf(ret_limit, 64, "learnt rate, 1/%lldms", (long long)pace->interval_ms);
    }
    return most_ms;
}

void pace_take(struct pace *pace, const struct pace_limits *limits, int64_t now_ms)
{
    for (size_t i = 0; limits->rates && i < limits->rates->count; i++)
        count_one(&pace->counts[i], share(limits, &limits->rates->items[i]).span_ms, now_ms);
    if (limits->warmup) {
        if (!pace->first_ms)
            pace->first_ms = now_ms;
        if (pace->day.start_ms / DAY_MS != now_ms / DAY_MS)
            pace->day = (struct pace_count){.span_ms = DAY_MS, .start_ms = now_ms};
        pace->day.now++;
    }
    pace->last_sent_ms = now_ms;
}

/* ---- tuning ---- */

static void set_cause(struct pace *pace, struct slice cause)
{
    size_t size = cause.size < sizeof pace->cause - 1 ? cause.size : sizeof pace->cause - 1;
    while (size && size < cause.size && ((unsigned char)cause.data[size] & 0xC0) == 0x80)
        size--; /* between characters */
    memcpy(pace->cause, cause.data, size);
    pace->cause[size] = '\0';
}

bool pace_complained(struct pace *pace, size_t connections, bool is_final, int64_t rest_ms, struct slice cause, int64_t now_ms,
                     char ret_change[128])
{
    int size = 0;
    int64_t since_ms = now_ms - pace->last_cut_ms;
    pace->complaints++;
    if (is_final && pace->complaints < PACE_REFUSALS_MAX)
        return false;
    if (pace->last_cut_ms && since_ms >= 0 && since_ms < PACE_CUT_GAP_MS)
        return false;
    set_cause(pace, cause);
    pace->last_cut_ms = pace->last_rise_ms = now_ms;
    if (connections > 1) {
        pace->connections = connections / 2;
        size = snprintf(ret_change, 128, "connections %zu -> %zu", connections, pace->connections);
    } else if (!is_final) {
        int64_t old_ms = pace->interval_ms;
        pace->connections = 1;
        pace->interval_ms = old_ms ? 2 * old_ms : INTERVAL_START_MS;
        if (pace->interval_ms > INTERVAL_MAX_MS)
            pace->interval_ms = INTERVAL_MAX_MS;
        size = old_ms ? snprintf(ret_change, 128, "1 message each %lldms -> each %lldms", (long long)old_ms, (long long)pace->interval_ms)
                      : snprintf(ret_change, 128, "1 connection, 1 message each %lldms", (long long)pace->interval_ms);
    }
    unsigned doublings = pace->complaints - (is_final ? PACE_REFUSALS_MAX : 1);
    while (doublings-- && rest_ms < PACE_REST_MAX_MS)
        rest_ms *= 2;
    if (rest_ms > PACE_REST_MAX_MS)
        rest_ms = PACE_REST_MAX_MS;
    if (rest_ms) {
        char span[24];
        span_text(rest_ms, span);
        pace->rests_until_ms = now_ms + rest_ms;
        (void)snprintf(ret_change + size, 128 - (size_t)size, "%srests for %s", size ? ", " : "", span);
    }
    return true;
}

static bool rise(struct pace *pace, size_t connections_max, char ret_change[128])
{
    if (pace->interval_ms) {
        int64_t old_ms = pace->interval_ms;
        pace->interval_ms = old_ms * 60000 / (60000 + RISE_PER_MINUTE * old_ms);
        if (pace->interval_ms <= INTERVAL_NONE_MS)
            pace->interval_ms = 0;
        (void)snprintf(ret_change, 128, "1 message each %lldms -> each %lldms", (long long)old_ms, (long long)pace->interval_ms);
        return true;
    }
    size_t old = pace->connections++;
    if (pace->connections >= connections_max) {
        pace->connections = 0;
        (void)snprintf(ret_change, 128, "connections %zu -> %zu, as configured", old, connections_max);
    } else {
        (void)snprintf(ret_change, 128, "connections %zu -> %zu", old, old + 1);
    }
    return true;
}

bool pace_delivered(struct pace *pace, const struct pace_limits *limits, int64_t now_ms, char ret_change[128])
{
    pace->complaints = 0;
    if (!pace->interval_ms && !pace->connections)
        return false;
    int64_t since_ms = now_ms - pace->last_rise_ms;
    if (since_ms < 0)
        pace->last_rise_ms = now_ms;
    if (since_ms < limits->tune_interval_ms)
        return false;
    pace->last_rise_ms = now_ms;
    return rise(pace, limits->connections_max, ret_change);
}

/* ---- kept ---- */

bool pace_is_plain(const struct pace *pace, int64_t now_ms)
{
    if (pace->connections || pace->interval_ms || pace->rests_until_ms > now_ms || pace->no_ipv6_until_ms > now_ms || pace->first_ms)
        return false;
    for (size_t i = 0; i < COUNT_OF(pace->counts); i++)
        if (pace->counts[i].span_ms > KEPT_SPAN_MS && used(&pace->counts[i], pace->counts[i].span_ms, now_ms))
            return false;
    return true;
}

struct field { const char *name; size_t offset; };
#define AT(field) {#field, offsetof(struct pace, field)}
static const struct field fields[] = {AT(interval_ms), AT(last_sent_ms), AT(last_cut_ms), AT(last_rise_ms), AT(rests_until_ms),
                                      AT(no_ipv6_until_ms), AT(first_ms)};

static json_t *count_to_json(const struct pace_count *count)
{
    return json_pack("[I,I,i,i]", (json_int_t)count->span_ms, (json_int_t)count->start_ms, count->now, count->before);
}

static void count_from_json(struct pace_count *count, const json_t *json)
{
    struct pace_count read = {0};
    json_int_t span_ms = 0, start_ms = 0;
    if (json_unpack((json_t *)(uintptr_t)json, "[I,I,i,i]", &span_ms, &start_ms, &read.now, &read.before) != 0 || span_ms <= 0
        || read.now < 0 || read.before < 0)
        return;
    read.span_ms = span_ms;
    read.start_ms = start_ms;
    *count = read;
}

json_t *pace_to_json(const struct pace *pace)
{
    json_t *json = json_object(), *counts = json_array();
    json_object_set_new(json, "connections", json_integer((json_int_t)pace->connections));
    json_object_set_new(json, "complaints", json_integer(pace->complaints));
    for (size_t i = 0; i < COUNT_OF(fields); i++)
        json_object_set_new(json, fields[i].name,
                            json_integer((json_int_t) * (const int64_t *)(const void *)((const char *)pace + fields[i].offset)));
    for (size_t i = 0; i < COUNT_OF(pace->counts); i++)
        json_array_append_new(counts, count_to_json(&pace->counts[i]));
    json_object_set_new(json, "counts", counts);
    json_object_set_new(json, "day", count_to_json(&pace->day));
    json_t *cause = json_string(pace->cause);
    json_object_set_new(json, "cause", cause ? cause : json_string(""));
    return json;
}

void pace_from_json(struct pace *pace, const json_t *json)
{
    json_int_t connections = json_integer_value(json_object_get(json, "connections"));
    json_int_t complaints = json_integer_value(json_object_get(json, "complaints"));
    const char *cause = json_string_value(json_object_get(json, "cause"));
    const json_t *counts = json_object_get(json, "counts");
    pace->connections = connections > 0 && connections < 100000 ? (size_t)connections : 0;
    pace->complaints = complaints > 0 && complaints < 100000 ? (unsigned)complaints : 0;
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        json_int_t value = json_integer_value(json_object_get(json, fields[i].name));
        *(int64_t *)(void *)((char *)pace + fields[i].offset) = value > 0 ? value : 0;
    }
    if (pace->interval_ms > INTERVAL_MAX_MS)
        pace->interval_ms = INTERVAL_MAX_MS;
    for (size_t i = 0; i < COUNT_OF(pace->counts); i++)
        count_from_json(&pace->counts[i], json_array_get(counts, i));
    count_from_json(&pace->day, json_object_get(json, "day"));
    if (cause)
        set_cause(pace, slice_of(cause));
}
