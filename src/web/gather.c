#include "web/gather.h"

#include "web/charset.h"
#include "web/check.h"

#include <time.h>

static struct slice clean(struct arena *arena, const struct page *page, struct slice text)
{
    struct slice utf8 = charset_to_utf8(arena, page->charset, text);
    return slice_equals(page->charset, SLICE("utf-8")) ? utf8 : html_decode_numbers(arena, utf8);
}

void gather(struct arena *arena, const struct page *page, const struct form_body *posted, const struct visit *visit,
            struct gathered *ret_gathered)
{
    const struct form_field *group = form_body_find(posted, SLICE("VTI-GROUP"));
    *ret_gathered = (struct gathered){
        .arena = arena, .page = page, .visit = visit, .form = page_form_find(page, group ? group->value : SLICE_NONE),
        .body = {arena_alloc(arena, (posted->count + 1) * sizeof *posted->fields), posted->count, posted->files}};
    for (size_t i = 0; i < posted->count; i++) {
        struct form_field *field = &ret_gathered->body.fields[i];
        *field = posted->fields[i];
        field->name = clean(arena, page, field->name);
        if (slice_is_absent(field->file_name))
            field->value = clean(arena, page, field->value);
        else
            field->file_name = clean(arena, page, field->file_name);
    }
}

static bool is_own(struct slice name) /* G4 */
{
    return slice_equals_nocase(name, SLICE("VTI-GROUP")) || slice_starts(name, SLICE("mailroot-"))
           || slice_equals(name, SLICE("_charset_"));
}

static bool find_posted(const struct gathered *g, struct slice name, struct slice *ret_value)
{
    size_t count = 0;
    struct slice value = SLICE("");
    for (size_t i = 0; i < g->body.count; i++) {
        const struct form_field *field = &g->body.fields[i];
        if (!slice_equals(field->name, name))
            continue;
        struct slice one = slice_is_absent(field->file_name) ? field->value : field->file_name;
        value = count++ == 0 ? one : arena_printf(g->arena, "%.*s, %.*s", SLICE_FMT(value), SLICE_FMT(one));
    }
    *ret_value = value;
    return count > 0;
}

/* ---- built-in fields ---- */

static struct slice format_time(const struct gathered *g, struct slice setting, const char *standard)
{
    char text[200];
    struct tm local;
    time_t time = (time_t)g->visit->time_s;
    struct slice format = page_setting(g->arena, g->page, g->form, setting, 0);
    const char *wanted = format.size ? arena_text(g->arena, format) : standard;
    localtime_r(&time, &local);
    size_t size = strftime(text, sizeof text, wanted, &local);
    return arena_copy(g->arena, slice_make(text, size));
}

static bool builtin(const struct gathered *g, struct slice name, struct result_field *ret_field)
{
    static const struct { const char *name, *label; } names[] = {
        {"REMOTE_NAME", "Remote Name"}, {"REMOTE_USER", "Remote User"}, {"HTTP_USER_AGENT", "HTTP User Agent"},
        {"Date", "Date"}, {"Time", "Time"},
    };
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (!slice_equals_nocase(name, slice_of(names[i].name)) && !slice_equals_nocase(name, slice_of(names[i].label)))
            continue;
        const struct slice values[] = {g->visit->address, g->visit->user, g->visit->agent, SLICE_NONE, SLICE_NONE};
        struct slice value = i == 3   ? format_time(g, SLICE("S-Date-Format"), "%d %b %Y")
                             : i == 4 ? format_time(g, SLICE("S-Time-Format"), "%H:%M:%S") : values[i];
        *ret_field = (struct result_field){.label = slice_of(names[i].label), .value = value, .is_builtin = true};
        return true;
    }
    return false;
}

struct slice gathered_value(const struct gathered *g, struct slice name)
{
    struct slice value;
    struct result_field field;
    if (!find_posted(g, name, &value) && builtin(g, name, &field))
        value = field.value;
    return value;
}

/* ---- records ---- */

static void add(const struct gathered *g, struct results *results, struct result_field field)
{
    for (size_t i = 0; i < results->count; i++)
        if (slice_equals(results->fields[i].label, field.label) && results->fields[i].is_builtin == field.is_builtin)
            return;
    if ((results->count & (results->count - 1)) == 0)
        results->fields = arena_grow(g->arena, results->fields, results->count, results->count ? 2 * results->count : 1,
                                     sizeof *results->fields);
    results->fields[results->count++] = field;
}

static void add_named(const struct gathered *g, struct results *results, struct slice name)
{
    const struct page_field *field = page_field_find(g->form, name);
    struct slice value;
    bool is_posted = find_posted(g, name, &value);
    if (is_own(name) || (field && field->kind == FIELD_SUBMIT && !is_posted)) /* R2 */
        return;
    bool has_lines = !field && slice_find_byte(value, '\n') >= 0;
    add(g, results, (struct result_field){.label = name, .value = value, .is_hidden = field && field->kind == FIELD_HIDDEN,
                                          .is_area = has_lines || (field && field->kind == FIELD_AREA)});
}

static void add_all(const struct gathered *g, struct results *results)
{
    for (size_t i = 0; i < g->form->field_count; i++)
        if (g->form->fields[i].kind == FIELD_HIDDEN)
            add_named(g, results, g->form->fields[i].name);
    for (size_t i = 0; i < g->form->field_count; i++)
        if (g->form->fields[i].kind != FIELD_HIDDEN)
            add_named(g, results, g->form->fields[i].name);
    for (size_t i = 0; i < g->body.count; i++) /* G3 */
        add_named(g, results, g->body.fields[i].name);
}

void gathered_results(const struct gathered *g, struct results *ret_results)
{
    struct slice word, chosen = page_setting(g->arena, g->page, g->form, SLICE("S-Form-Fields"), 0);
    struct slice builtins = page_setting(g->arena, g->page, g->form, SLICE("S-Builtin-Fields"), 0);
    struct result_field field;
    *ret_results = (struct results){0};
    if (slice_trim(chosen).size == 0)
        add_all(g, ret_results);
    while (page_list_next(&chosen, &word))
        add_named(g, ret_results, word);
    while (page_list_next(&builtins, &word))
        if (builtin(g, word, &field))
            add(g, ret_results, field);
}

bool gathered_check(const struct gathered *g, struct buf *faults)
{
    bool is_fine = true;
    for (size_t i = 0; i < g->form->field_count; i++) {
        const struct page_field *field = &g->form->fields[i];
        struct slice value;
        (void)find_posted(g, field->name, &value);
        if (!check_value(field, value, faults))
            is_fine = false;
    }
    return is_fine;
}

struct form_field *gathered_files(const struct gathered *g, size_t *ret_count)
{
    struct form_field *files = arena_alloc(g->arena, (g->body.files + 1) * sizeof *files);
    size_t count = 0;
    for (size_t i = 0; i < g->body.count && count < g->body.files; i++) {
        const struct form_field *field = &g->body.fields[i];
        if (!slice_is_absent(field->file_name) && (field->file_name.size || field->value.size))
            files[count++] = *field;
    }
    *ret_count = count;
    return files;
}
