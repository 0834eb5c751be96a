#include "lab/expect.h"

#include "base/mem.h"
#include "lab/scenario_private.h"
#include "outcome/history.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- reading them ---- */

static struct lab_expect *add(struct scenario *scenario, struct slice name, size_t line)
{
    scenario->expects = mem_resize(scenario->expects, (scenario->expect_count + 1) * sizeof *scenario->expects);
    struct lab_expect *expect = &scenario->expects[scenario->expect_count++];
    *expect = (struct lab_expect){.name = slice_copy(name), .line = line, .at = {0, INT64_MAX}};
    return expect;
}

/* "3", "3 to 5", "from 3" */
static bool set_count(struct lab_expect *expect, struct slice text, struct error *error)
{
    uint64_t least, most = INT32_MAX;
    struct slice from = slice_trim(text);
    ptrdiff_t at = slice_find(from, SLICE(" to "));
    bool is_open = slice_starts(from, SLICE("from "));
    struct slice to = at >= 0 ? slice_trim(slice_from(from, (size_t)at + 4)) : from;
    from = is_open ? slice_trim(slice_from(from, 5)) : at >= 0 ? slice_first(from, (size_t)at) : from;
    if (!slice_to_u64(from, &least) || (!is_open && !slice_to_u64(to, &most)) || least > most || most > INT32_MAX)
        return error_set(error, "\"%.*s\" is no count; accepted: \"3\", \"3 to 5\", \"from 3\"", SLICE_FMT(text));
    expect->is_count = true;
    expect->least = (int64_t)least;
    expect->most = (int64_t)most;
    return true;
}

bool lab_expect_set(struct scenario *scenario, struct slice name, size_t line, struct slice text, struct error *error)
{
    struct slice section = name, key = slice_cut_last(&section, '.');
    if (section.size == 0)
        return set_count(add(scenario, name, line), text, error);
    struct lab_expect *expect = scenario->expect_count ? &scenario->expects[scenario->expect_count - 1] : NULL;
    if (!expect || !slice_equals(section, slice_of(expect->name)))
        expect = add(scenario, section, line);
    if (slice_equals(key, SLICE("at")))
        return lab_span_read(text, &expect->at, error);
    if (slice_equals(key, SLICE("says"))) {
        expect->says = slice_copy(text);
        return true;
    }
    expect->fields = mem_resize(expect->fields, (expect->field_count + 1) * sizeof *expect->fields);
    expect->fields[expect->field_count++] = (struct lab_field){slice_copy(key), slice_copy(text)};
    return true;
}

void lab_expects_clear(struct scenario *scenario)
{
    for (size_t i = 0; i < scenario->expect_count; i++) {
        struct lab_expect *expect = &scenario->expects[i];
        for (size_t k = 0; k < expect->field_count; k++) {
            free(expect->fields[k].key);
            free(expect->fields[k].value);
        }
        free(expect->fields);
        free(expect->name);
        free(expect->says);
    }
    free(scenario->expects);
}

/* ---- looking for them ---- */

struct expecting { const struct scenario *scenario; int64_t *counts; size_t next; };

struct expecting *expecting_create(const struct scenario *scenario)
{
    struct expecting *expecting = mem_alloc(sizeof *expecting);
    expecting->scenario = scenario;
    expecting->counts = mem_alloc((scenario->expect_count + 1) * sizeof *expecting->counts);
    return expecting;
}

void expecting_destroy(struct expecting **expecting)
{
    if (*expecting)
        free((*expecting)->counts);
    free(*expecting);
    *expecting = NULL;
}

static bool has_value(const json_t *event, const struct lab_field *field)
{
    char number[32];
    const json_t *value = json_object_get(event, field->key);
    if (json_is_integer(value)) {
        (void)snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return strcmp(number, field->value) == 0;
    }
    return strcmp(history_text(event, field->key), field->value) == 0;
}

static bool fits(const struct lab_expect *expect, const json_t *event, int64_t at_ms)
{
    if (at_ms < expect->at.from_ms || at_ms >= expect->at.to_ms)
        return false;
    if (expect->says && !strstr(history_text(event, "reply"), expect->says) && !strstr(history_text(event, "reason"), expect->says))
        return false;
    for (size_t i = 0; i < expect->field_count; i++)
        if (!has_value(event, &expect->fields[i]))
            return false;
    return true;
}

void expecting_event(struct expecting *expecting, const json_t *event, int64_t at_ms)
{
    const struct scenario *scenario = expecting->scenario;
    for (size_t i = 0; i < scenario->expect_count; i++)
        if (scenario->expects[i].is_count)
            expecting->counts[i] += strcmp(scenario->expects[i].name, history_text(event, "event")) == 0;
    while (expecting->next < scenario->expect_count && scenario->expects[expecting->next].is_count)
        expecting->next++;
    if (expecting->next < scenario->expect_count && fits(&scenario->expects[expecting->next], event, at_ms))
        expecting->counts[expecting->next++] = 1;
}

size_t expecting_end(const struct expecting *expecting, const char *place, struct buf *report)
{
    const struct scenario *scenario = expecting->scenario;
    size_t failed = 0;
    bool is_told = false;
    for (size_t i = 0; i < scenario->expect_count; i++) {
        const struct lab_expect *expect = &scenario->expects[i];
        int64_t count = expecting->counts[i];
        if (expect->is_count && (count < expect->least || count > expect->most)) {
            buf_printf(report, "%s:%zu: %s: %" PRId64 " where %" PRId64, place, expect->line, expect->name, count, expect->least);
            if (expect->most == INT32_MAX)
                buf_printf(report, " or more were expected\n");
            else if (expect->most > expect->least)
                buf_printf(report, " to %" PRId64 " were expected\n", expect->most);
            else
                buf_printf(report, " were expected\n");
            failed++;
        } else if (!expect->is_count && count == 0) {
            failed++;
            if (!is_told)
                buf_printf(report, "%s:%zu: \"%s\" did not come%s\n", place, expect->line, expect->name,
                           i ? "" : ": no event is as expected");
            is_told = true; /* those behind it were not looked for */
        }
    }
    return failed;
}
