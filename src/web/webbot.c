#include "web/webbot.h"

#include "web/charset.h"

struct reading {
    struct arena *arena;
    struct page *page;
    struct page_form *form;     /* the open one */
    struct page_check *pending; /* a Validation bot's, for the next field */
    struct page_field *select;  /* the open one, until its first option */
    size_t field_total;
};

static struct slice clean_text(struct arena *arena, const struct page *page, struct slice raw)
{
    if (slice_is_absent(raw))
        return SLICE_NONE;
    return html_decode(arena, charset_to_utf8(arena, page->charset, raw));
}

/* ---- webbot comments ---- */

struct bot { struct html_attribute *attributes; size_t count; struct slice name; };

static bool read_bot(struct arena *arena, struct slice comment, struct bot *ret_bot)
{
    struct slice text = slice_trim(comment);
    if (!slice_starts_nocase(text, SLICE("webbot")) || text.size == 6 || (unsigned char)text.data[6] > ' ')
        return false;
    ret_bot->attributes = html_attributes(arena, slice_from(text, 6), &ret_bot->count);
    ret_bot->name = html_attribute(ret_bot->attributes, ret_bot->count, SLICE("bot"));
    return ret_bot->name.size > 0;
}

static bool bot_has(const struct bot *bot, struct slice word)
{
    return !slice_is_absent(html_attribute(bot->attributes, bot->count, word));
}

static bool is_true(struct slice value, bool standard)
{
    if (slice_is_absent(value))
        return standard;
    return value.size == 0 || slice_equals_nocase(value, SLICE("TRUE")) || slice_equals(value, SLICE("1"))
           || slice_equals_nocase(value, SLICE("YES"));
}

static int64_t number_of(struct slice value)
{
    uint64_t number;
    return slice_to_u64(slice_trim(value), &number) && number < INT32_MAX ? (int64_t)number : -1;
}

static void add_constraint(struct page_check *check, struct slice relation, struct slice value)
{
    size_t at = check->constraint_count;
    if (!slice_is_absent(relation) && at < PAGE_CONSTRAINTS_MAX) {
        check->constraints[at].relation = relation;
        check->constraints[at].value = SLICE_NONE;
        check->constraint_count++;
    } else if (!slice_is_absent(value) && at > 0) {
        check->constraints[at - 1].value = value;
    }
}

static struct page_check *read_check(struct reading *r, const struct bot *bot)
{
    struct page_check *check = arena_alloc(r->arena, sizeof *check);
    check->size_min = check->size_max = -1;
    for (size_t i = 0; i < bot->count; i++) {
        struct slice name = bot->attributes[i].name;
        struct slice value = clean_text(r->arena, r->page, bot->attributes[i].value);
        struct slice type = slice_trim(value);
        if (slice_equals_nocase(name, SLICE("S-Display-Name")))
            check->display = value;
        else if (slice_equals_nocase(name, SLICE("S-Data-Type")))
            check->type = slice_equals_nocase(type, SLICE("Integer"))  ? CHECK_INTEGER
                          : slice_equals_nocase(type, SLICE("Number")) ? CHECK_NUMBER
                          : slice_equals_nocase(type, SLICE("String")) ? CHECK_STRING : CHECK_ANY;
        else if (slice_equals_nocase(name, SLICE("B-Value-Required")))
            check->is_required = is_true(value, true);
        else if (slice_equals_nocase(name, SLICE("B-Disallow-First-Item")))
            check->is_first_refused = is_true(value, true);
        else if (slice_equals_nocase(name, SLICE("B-Allow-Letters")))
            check->has_letters = is_true(value, true);
        else if (slice_equals_nocase(name, SLICE("B-Allow-Digits")))
            check->has_digits = is_true(value, true);
        else if (slice_equals_nocase(name, SLICE("B-Allow-WhiteSpace")))
            check->has_blanks = is_true(value, true);
        else if (slice_equals_nocase(name, SLICE("S-Allow-Other-Chars")))
            check->others = value;
        else if (slice_equals_nocase(name, SLICE("S-Number-Separators")))
            check->separators = value;
        else if (slice_equals_nocase(name, SLICE("I-Minimum-Length")))
            check->size_min = number_of(value);
        else if (slice_equals_nocase(name, SLICE("I-Maximum-Length")))
            check->size_max = number_of(value);
        else if (slice_equals_nocase(name, SLICE("S-Validation-Constraint")))
            add_constraint(check, value, SLICE_NONE);
        else if (slice_equals_nocase(name, SLICE("S-Validation-Value")))
            add_constraint(check, SLICE_NONE, value);
    }
    return check;
}

static void on_comment(struct reading *r, struct slice text)
{
    struct bot bot;
    if (!read_bot(r->arena, text, &bot))
        return;
    if (slice_equals_nocase(bot.name, SLICE("Validation"))) {
        r->pending = read_check(r, &bot);
    } else if (slice_equals_nocase(bot.name, SLICE("SaveResults")) && r->form && !r->form->has_results) {
        /* A lone end tag (endspan, checksum) says nothing. */
        if (bot_has(&bot, SLICE("endspan")) && !bot_has(&bot, SLICE("startspan")))
            return;
        r->form->has_results = true;
        r->form->results = bot.attributes;
        r->form->results_count = bot.count;
    }
}

/* ---- fields ---- */

static bool input_kind(struct slice type, enum field_kind *ret_kind)
{
    static const struct { const char *name; enum field_kind kind; } kinds[] = {
        {"hidden", FIELD_HIDDEN}, {"checkbox", FIELD_CHECKBOX}, {"radio", FIELD_RADIO}, {"submit", FIELD_SUBMIT},
        {"file", FIELD_FILE}, {"image", FIELD_SUBMIT},
    };
    if (slice_equals_nocase(type, SLICE("button")) || slice_equals_nocase(type, SLICE("reset")))
        return false;
    *ret_kind = FIELD_TEXT;
    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        if (slice_equals_nocase(type, slice_of(kinds[i].name)))
            *ret_kind = kinds[i].kind;
    return true;
}

static struct page_field *field_get(struct reading *r, struct slice name, enum field_kind kind)
{
    struct page_form *form = r->form;
    for (size_t i = 0; i < form->field_count; i++)
        if (slice_equals(form->fields[i].name, name))
            return &form->fields[i];
    if (r->field_total == PAGE_FIELDS_MAX)
        return NULL;
    r->field_total++;
    if ((form->field_count & (form->field_count - 1)) == 0)
        form->fields = arena_grow(r->arena, form->fields, form->field_count, form->field_count ? 2 * form->field_count : 1,
                                  sizeof *form->fields);
    form->fields[form->field_count] = (struct page_field){.name = name, .kind = kind};
    return &form->fields[form->field_count++];
}

static void add_field(struct reading *r, const struct html_token *tag)
{
    enum field_kind kind = FIELD_AREA;
    struct slice name = clean_text(r->arena, r->page, html_attribute(tag->attributes, tag->attribute_count, SLICE("name")));
    r->select = NULL;
    if (slice_equals_nocase(tag->name, SLICE("select")))
        kind = FIELD_SELECT;
    else if (!slice_equals_nocase(tag->name, SLICE("textarea"))
             && !input_kind(html_attribute(tag->attributes, tag->attribute_count, SLICE("type")), &kind))
        return;
    if (name.size == 0)
        return;
    if (slice_equals_nocase(name, SLICE("VTI-GROUP"))) {
        r->form->group = html_attribute(tag->attributes, tag->attribute_count, SLICE("value"));
        return;
    }
    struct page_field *field = field_get(r, name, kind);
    if (field && r->pending) {
        field->check = r->pending;
        if (field->check->display.size == 0)
            field->check->display = name;
    }
    r->pending = NULL;
    if (field && kind == FIELD_SELECT && slice_is_absent(field->first))
        r->select = field;
}

static void open_form(struct reading *r, size_t offset)
{
    struct page *page = r->page;
    r->form = NULL;
    r->pending = NULL;
    if (page->form_count == PAGE_FORMS_MAX)
        return;
    if ((page->form_count & (page->form_count - 1)) == 0)
        page->forms = arena_grow(r->arena, page->forms, page->form_count, page->form_count ? 2 * page->form_count : 1,
                                 sizeof *page->forms);
    page->forms[page->form_count] = (struct page_form){.tag_offset = offset};
    r->form = &page->forms[page->form_count++];
}

static void on_tag(struct reading *r, const struct html_token *tag, size_t offset)
{
    bool is_open = tag->kind == HTML_OPEN;
    if (slice_equals_nocase(tag->name, SLICE("form"))) {
        if (is_open)
            open_form(r, offset);
        else
            r->form = NULL;
    } else if (is_open && r->form
               && (slice_equals_nocase(tag->name, SLICE("input")) || slice_equals_nocase(tag->name, SLICE("select"))
                   || slice_equals_nocase(tag->name, SLICE("textarea")) || slice_equals_nocase(tag->name, SLICE("button")))) {
        add_field(r, tag);
    } else if (is_open && r->select && slice_equals_nocase(tag->name, SLICE("option"))) {
        struct slice value = html_attribute(tag->attributes, tag->attribute_count, SLICE("value"));
        r->select->first = slice_is_absent(value) ? SLICE("") : clean_text(r->arena, r->page, value);
        r->select = NULL;
    }
}

void page_read(struct arena *arena, struct slice octets, struct page *ret_page)
{
    struct html_cursor cursor = {.page = octets};
    struct html_token token;
    *ret_page = (struct page){.octets = octets, .charset = charset_of_page(arena, octets)};
    struct reading reading = {.arena = arena, .page = ret_page};
    for (;;) {
        size_t offset = cursor.offset;
        html_next(arena, &cursor, &token);
        if (token.kind == HTML_END)
            return;
        if (token.kind == HTML_COMMENT)
            on_comment(&reading, token.text);
        else if (token.kind != HTML_TEXT)
            on_tag(&reading, &token, offset);
    }
}

/* ---- asking ---- */

const struct page_form *page_form_find(const struct page *page, struct slice group)
{
    const struct page_form *first = NULL;
    for (size_t i = 0; i < page->form_count; i++) {
        const struct page_form *form = &page->forms[i];
        if (!form->has_results)
            continue;
        if (!slice_is_absent(group) && !slice_is_absent(form->group) && slice_equals(slice_trim(form->group), slice_trim(group)))
            return form;
        if (!first)
            first = form;
    }
    return first;
}

const struct page_field *page_field_find(const struct page_form *form, struct slice name)
{
    for (size_t i = 0; i < form->field_count; i++)
        if (slice_equals(form->fields[i].name, name))
            return &form->fields[i];
    return NULL;
}

struct slice page_setting(struct arena *arena, const struct page *page, const struct page_form *form, struct slice name,
                          size_t nth)
{
    for (size_t i = 0; i < form->results_count; i++) {
        if (!slice_equals_nocase(form->results[i].name, name) || nth-- > 0)
            continue;
        struct slice value = form->results[i].value;
        return slice_is_absent(value) ? SLICE("") : clean_text(arena, page, value);
    }
    return SLICE_NONE;
}

bool page_setting_is(struct arena *arena, const struct page *page, const struct page_form *form, struct slice name,
                     bool standard)
{
    return is_true(page_setting(arena, page, form, name, 0), standard);
}

bool page_list_next(struct slice *list, struct slice *ret_word)
{
    size_t start = 0;
    while (start < list->size && strchr(" \t\r\n,", list->data[start]) && list->data[start])
        start++;
    size_t end = start;
    while (end < list->size && !(list->data[end] && strchr(" \t\r\n,", list->data[end])))
        end++;
    *ret_word = slice_make(list->data + start, end - start);
    *list = slice_from(*list, end);
    return end > start;
}

/* ---- rendering ---- */

static const struct page_form *form_at(const struct page *page, size_t offset)
{
    for (size_t i = 0; i < page->form_count; i++)
        if (page->forms[i].tag_offset == offset)
            return &page->forms[i];
    return NULL;
}

/* The first of two attributes of a name counts (WHATWG HTML 13.2.5.33): ours go in front. */
static void put_form_tag(const struct page_form *form, const struct html_token *tag, const struct page_rendering *with,
                         struct buf *out)
{
    buf_append_text(out, "<form method=\"POST\" action=\"");
    html_escape(out, with->action);
    buf_append_byte(out, '"');
    buf_append(out, slice_from(tag->raw, 5));
    if (slice_is_absent(form->group))
        buf_append_text(out, "<input type=\"hidden\" name=\"VTI-GROUP\" value=\"0\">");
    buf_append(out, with->hidden);
}

/* Skips the inside of a span: up to its end tag, if that is the next of this bot's comments. */
static void skip_span(struct arena *arena, struct html_cursor *cursor, struct slice name)
{
    struct html_cursor ahead = *cursor;
    struct html_token token;
    struct bot bot;
    for (html_next(arena, &ahead, &token); token.kind != HTML_END; html_next(arena, &ahead, &token)) {
        if (token.kind != HTML_COMMENT || !read_bot(arena, token.text, &bot) || !slice_equals_nocase(bot.name, name))
            continue;
        if (bot_has(&bot, SLICE("endspan")) && !bot_has(&bot, SLICE("S-Field")))
            *cursor = ahead;
        return;
    }
}

static void render_comment(struct arena *arena, struct html_cursor *cursor, const struct page *page,
                           const struct html_token *token, const struct page_rendering *with, struct buf *out)
{
    struct bot bot;
    if (!read_bot(arena, token->text, &bot)) {
        buf_append(out, token->raw);
        return;
    }
    if (slice_equals_nocase(bot.name, SLICE("SaveResults")))
        return;
    if (!with->fn || !slice_equals_nocase(bot.name, SLICE("ConfirmationField"))) {
        buf_append(out, token->raw);
        return;
    }
    struct slice field = html_attribute(bot.attributes, bot.count, SLICE("S-Field"));
    if (slice_is_absent(field))
        return;
    struct buf value = {0};
    html_escape(&value, with->fn(with->arg, clean_text(arena, page, field)));
    charset_from_utf8(page->charset, buf_slice(&value), out);
    buf_finish(&value);
    skip_span(arena, cursor, bot.name);
}

void page_render(struct arena *arena, const struct page *page, const struct page_rendering *with, struct buf *out)
{
    struct html_cursor cursor = {.page = page->octets};
    struct html_token token;
    for (;;) {
        size_t offset = cursor.offset;
        html_next(arena, &cursor, &token);
        if (token.kind == HTML_END)
            return;
        bool is_form = token.kind == HTML_OPEN && slice_equals_nocase(token.name, SLICE("form"));
        const struct page_form *form = is_form ? form_at(page, offset) : NULL;
        if (token.kind == HTML_COMMENT) {
            render_comment(arena, &cursor, page, &token, with, out);
        } else if (form && form->has_results) {
            put_form_tag(form, &token, with, out);
        } else if (form && slice_starts(html_attribute(token.attributes, token.attribute_count, SLICE("action")), SLICE("/forms/"))) {
            buf_append(out, token.raw);
            buf_append(out, with->hidden);
        } else {
            buf_append(out, token.raw);
        }
    }
}
