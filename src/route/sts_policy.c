#include "route/sts_policy.h"

#include "base/mem.h"

#include <ctype.h>
#include <stdlib.h>

const char *sts_mode_name(enum sts_mode mode)
{
    static const char *const names[] = {"none", "testing", "enforce"};
    return names[mode];
}

static bool is_alphanumeric(struct slice text)
{
    for (size_t i = 0; i < text.size; i++)
        if (!isascii((unsigned char)text.data[i]) || !isalnum((unsigned char)text.data[i]))
            return false;
    return text.size > 0;
}

/* ---- the record ---- */

bool sts_record_is_one(struct slice text)
{
    struct slice rest = text;
    return slice_equals(slice_trim(slice_cut(&rest, ';')), SLICE("v=STSv1"));
}

bool sts_record_parse(struct slice text, char ret_id[STS_ID_SIZE])
{
    struct slice rest = text;
    bool has_id = false;
    if (!sts_record_is_one(text))
        return false;
    (void)slice_cut(&rest, ';');
    while (rest.size) {
        struct slice value = slice_trim(slice_cut(&rest, ';'));
        if (value.size == 0)
            continue;
        if (slice_find_byte(value, '=') < 1)
            return false;
        struct slice name = slice_trim(slice_cut(&value, '='));
        if (!slice_equals(name, SLICE("id")))
            continue;
        value = slice_trim(value);
        if (has_id || value.size >= STS_ID_SIZE || !is_alphanumeric(value))
            return false;
        memcpy(ret_id, value.data, value.size);
        ret_id[value.size] = '\0';
        has_id = true;
    }
    return has_id;
}

/* ---- the policy ---- */

struct sts_policy *sts_policy_hold(struct sts_policy *policy)
{
    if (policy)
        policy->references++;
    return policy;
}

void sts_policy_release(struct sts_policy **policy)
{
    struct sts_policy *p = *policy;
    *policy = NULL;
    if (!p || --p->references)
        return;
    for (size_t i = 0; i < p->pattern_count; i++)
        free(p->patterns[i]);
    free(p->patterns);
    free(p->domain);
    free(p->text);
    free(p);
}

/* A host name, or one with "*." in front. */
static bool is_pattern(struct slice text)
{
    size_t label = 0;
    if (slice_starts(text, SLICE("*.")))
        text = slice_from(text, 2);
    if (text.size == 0 || text.size > 253)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c == '.' ? label == 0 : !isascii(c) || !(isalnum(c) || c == '-' || c == '_'))
            return false;
        label = c == '.' ? 0 : label + 1;
        if (label > 63)
            return false;
    }
    return label > 0;
}

static void add_pattern(struct sts_policy *policy, struct slice text)
{
    policy->patterns = mem_resize(policy->patterns, (policy->pattern_count + 1) * sizeof *policy->patterns);
    char *pattern = slice_copy(text);
    for (char *c = pattern; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    policy->patterns[policy->pattern_count++] = pattern;
}

struct reading { struct sts_policy *policy; bool has_version, has_mode, has_age; };

static bool read_mode(struct reading *reading, struct slice value, struct error *error)
{
    if (reading->has_mode)
        return true;
    for (int mode = STS_NONE; mode <= STS_ENFORCE; mode++)
        if (slice_equals(value, slice_of(sts_mode_name((enum sts_mode)mode)))) {
            reading->policy->mode = (enum sts_mode)mode;
            reading->has_mode = true;
        }
    return reading->has_mode || error_set(error, "mode: none, testing or enforce was expected");
}

static bool read_age(struct reading *reading, struct slice value, struct error *error)
{
    uint64_t seconds;
    if (reading->has_age)
        return true;
    if (value.size == 0 || value.size > 10 || !slice_to_u64(value, &seconds))
        return error_set(error, "max_age: a number of seconds of at most ten digits was expected");
    reading->policy->max_age_s = seconds > STS_MAX_AGE_MAX_S ? STS_MAX_AGE_MAX_S : (int64_t)seconds;
    reading->has_age = true;
    return true;
}

static bool read_field(struct reading *reading, struct slice name, struct slice value, struct error *error)
{
    if (!reading->has_version) {
        reading->has_version = slice_equals(name, SLICE("version")) && slice_equals(value, SLICE("STSv1"));
        return reading->has_version || error_set(error, "\"version: STSv1\" was expected first");
    }
    if (slice_equals(name, SLICE("mode")))
        return read_mode(reading, value, error);
    if (slice_equals(name, SLICE("max_age")))
        return read_age(reading, value, error);
    if (!slice_equals(name, SLICE("mx")))
        return true;
    if (!is_pattern(value))
        return error_set(error, "mx: a host name, or one with \"*.\" in front, was expected");
    add_pattern(reading->policy, value);
    return true;
}

static bool read_lines(struct reading *reading, struct slice text, struct error *error)
{
    while (text.size) {
        struct slice value = slice_trim(slice_cut(&text, '\n'));
        if (value.size == 0)
            continue;
        if (slice_find_byte(value, ':') < 1)
            return error_set(error, "\"name: value\" was expected in every line");
        struct slice name = slice_trim(slice_cut(&value, ':'));
        if (!read_field(reading, name, slice_trim(value), error))
            return false;
    }
    if (!reading->has_version || !reading->has_mode || !reading->has_age)
        return error_set(error, "%s is missing", !reading->has_version ? "version" : !reading->has_mode ? "mode" : "max_age");
    return reading->policy->mode == STS_NONE || reading->policy->pattern_count > 0
           || error_set(error, "no mx is named");
}

struct sts_policy *sts_policy_parse(struct slice text, struct error *error)
{
    struct reading reading = {.policy = mem_alloc(sizeof(struct sts_policy))};
    reading.policy->references = 1;
    reading.policy->text = slice_copy(text);
    bool is_fine = text.size <= STS_TEXT_SIZE_MAX ? read_lines(&reading, text, error)
                                                  : error_set(error, "larger than 64 KiB");
    if (!is_fine)
        sts_policy_release(&reading.policy);
    return reading.policy;
}

bool sts_policy_matches(const struct sts_policy *policy, struct slice host)
{
    for (size_t i = 0; i < policy->pattern_count; i++) {
        struct slice pattern = slice_of(policy->patterns[i]);
        if (!slice_starts(pattern, SLICE("*."))) {
            if (slice_equals_nocase(pattern, host))
                return true;
            continue;
        }
        ptrdiff_t dot = slice_find_byte(host, '.');
        if (dot > 0 && slice_equals_nocase(slice_from(pattern, 1), slice_from(host, (size_t)dot)))
            return true;
    }
    return false;
}
