#include "store/policy.h"

#include "base/buf.h"

static void put_list(struct buf *out, const char *key, const struct config_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        buf_printf(out, "%s%s", i ? "," : key, list->items[i]);
}

static void put_folder(struct buf *out, const struct folder_conf *conf, const struct policy *own)
{
    buf_printf(out, "folder=%s", conf->name);
    if (slice_is_absent(own->sources))
        put_list(out, " source=", &conf->sources);
    if (conf->window.count) {
        buf_append_text(out, " window=");
        struct slice rest = slice_of(conf->window_text);
        while (rest.size) { /* "Mon-Fri 08:00-18:00, Sat …" without blanks */
            struct slice hours = slice_trim(slice_cut(&rest, ',')), days = slice_cut(&hours, ' ');
            hours = slice_trim(hours);
            buf_printf(out, "%.*s%s%.*s%s", SLICE_FMT(days), hours.size ? "/" : "", SLICE_FMT(hours), rest.size ? "," : "");
        }
    }
    if (conf->receipts >= 0)
        buf_printf(out, " receipts=%d", conf->receipts);
}

struct slice policy_words(struct arena *arena, const struct folder_conf *conf, const struct policy *own)
{
    struct buf out = {0};
    if (!conf && !own->released_ms && !own->by_ms && slice_is_absent(own->trace) && slice_is_absent(own->sources))
        return SLICE_NONE;
    if (conf)
        put_folder(&out, conf, own);
    if (!slice_is_absent(own->sources))
        buf_printf(&out, "%ssource=%.*s", out.size ? " " : "", SLICE_FMT(own->sources));
    if (own->released_ms)
        buf_printf(&out, "%sreleased=%lld", out.size ? " " : "", (long long)own->released_ms);
    if (own->by_ms)
        buf_printf(&out, "%sby=%lld;%c%s", out.size ? " " : "", (long long)own->by_ms, own->is_by_return ? 'R' : 'N',
                   own->is_by_traced ? "T" : "");
    if (!slice_is_absent(own->trace))
        buf_printf(&out, "%strace=%.*s;%lld", out.size ? " " : "", SLICE_FMT(own->trace), (long long)own->appeared_ms);
    struct slice words = arena_copy(arena, buf_slice(&out));
    buf_finish(&out);
    return words;
}

static void read_by(struct slice mode, struct policy *policy)
{
    uint64_t number;
    if (!slice_to_u64(slice_cut(&mode, ';'), &number))
        return;
    policy->by_ms = (int64_t)number;
    policy->is_by_return = slice_starts(mode, SLICE("R"));
    policy->is_by_traced = mode.size == 2;
}

static void read_trace(struct slice value, struct policy *policy)
{
    uint64_t number;
    policy->trace = slice_cut(&value, ';');
    policy->appeared_ms = slice_to_u64(value, &number) ? (int64_t)number : 0;
}

void policy_read(struct slice words, struct policy *ret_policy)
{
    uint64_t number;
    *ret_policy = (struct policy){.receipts = -1};
    while (words.size) {
        struct slice value = slice_cut(&words, ' ');
        struct slice name = slice_cut(&value, '=');
        if (slice_equals(name, SLICE("folder")))
            ret_policy->folder = value;
        else if (slice_equals(name, SLICE("source")))
            ret_policy->sources = value;
        else if (slice_equals(name, SLICE("window")))
            ret_policy->window = value;
        else if (slice_equals(name, SLICE("released")) && slice_to_u64(value, &number))
            ret_policy->released_ms = (int64_t)number;
        else if (slice_equals(name, SLICE("by")))
            read_by(value, ret_policy);
        else if (slice_equals(name, SLICE("trace")))
            read_trace(value, ret_policy);
        else if (slice_equals(name, SLICE("receipts")))
            ret_policy->receipts = slice_equals(value, SLICE("1"));
    }
}
