#include "web/frontpage.h"

#include "web/charset.h"
#include "web/form_mail.h"
#include "web/results_file.h"
#include "web/site.h"

static const struct slice gateways[] = {
    {"/_vti_bin/shtml.dll/", 20}, {"/_vti_bin/shtml.exe/", 20},
};

static struct slice gateway_action(struct arena *arena, struct slice path)
{
    return arena_printf(arena, "/_vti_bin/shtml.dll%.*s", SLICE_FMT(path));
}

/* Where the gateway's own part stands in the path; -1 if nowhere. */
static ptrdiff_t find_gateway(struct slice path, size_t *ret_size)
{
    for (size_t i = 0; i < path.size; i++)
        for (size_t k = 0; k < COUNT_OF(gateways); k++)
            if (slice_starts_nocase(slice_from(path, i), gateways[k])) {
                *ret_size = gateways[k].size;
                return (ptrdiff_t)i;
            }
    return -1;
}

bool frontpage_is_post(struct slice path)
{
    size_t size;
    return find_gateway(path, &size) >= 0 || slice_ends_nocase(path, SLICE("--WEBBOT-SELF--"))
           || slice_ends_nocase(path, SLICE("--WEBBOT SELF--")) || slice_ends_nocase(path, SLICE("/_derived/nortbots.htm"));
}

/* The page that a post means, as a path of the site; absent if none can be. */
static struct slice page_path(struct arena *arena, const struct frontpage_post *post)
{
    size_t size;
    ptrdiff_t at = find_gateway(post->path, &size);
    if (at < 0)
        return post->referer_path;
    return arena_printf(arena, "%.*s/%.*s", (int)at, post->path.data, (int)(post->path.size - (size_t)at - size),
                        post->path.data + (size_t)at + size);
}

/* ---- giving pages out ---- */

static const char *page_type(struct arena *arena, struct slice charset)
{
    struct slice type = arena_printf(arena, "text/html; charset=%.*s", SLICE_FMT(charset));
    return arena_text(arena, type);
}

static bool is_private(struct slice path)
{
    return slice_find(path, SLICE("/_")) >= 0;
}

static void render(struct arena *arena, const struct page *page, const struct page_rendering *with, struct answer *answer)
{
    page_render(arena, page, with, &answer->body);
    answer->status = 200;
    answer->type = page_type(arena, page->charset);
    answer->is_foreign_page = true;
}

bool frontpage_get(const struct config *config, struct arena *arena, struct slice path, struct slice hidden,
                   struct answer *answer)
{
    struct site_file file;
    struct page page;
    if (!config->web.pages || !site_open(config->web.pages, arena, path, &file))
        return false;
    bool is_given = true;
    if (file.is_page) {
        page_read(arena, buf_slice(&file.content), &page);
        is_given = !is_private(path) || page_form_find(&page, SLICE_NONE);
        struct page_rendering with = {gateway_action(arena, file.path), hidden, NULL, NULL};
        if (is_given)
            render(arena, &page, &with, answer);
    } else {
        is_given = !is_private(path) || slice_starts_nocase(file.path, SLICE("/_themes/"))
                   || slice_find(file.path, SLICE("_vti_cnf")) < 0;
        if (is_given)
            buf_append(&answer->body, buf_slice(&file.content));
        answer->status = 200;
        answer->type = file.type;
        answer->is_foreign_page = true;
        answer->is_cached = true;
    }
    buf_finish(&file.content);
    return is_given;
}

/* ---- answers to a post ---- */

struct confirming { const struct gathered *gathered; struct slice faults; };

static struct slice confirmed_value(void *arg, struct slice name)
{
    const struct confirming *confirming = arg;
    if (slice_equals_nocase(name, SLICE("Validation-Error")))
        return confirming->faults;
    return gathered_value(confirming->gathered, name);
}

static void put_base(struct answer *answer, struct slice path)
{
    struct buf whole = {0};
    buf_append_text(&whole, "<base href=\"");
    html_escape(&whole, path);
    buf_append_text(&whole, "\">");
    buf_append(&whole, buf_slice(&answer->body));
    buf_finish(&answer->body);
    answer->body = whole;
}

static bool is_web_address(struct slice url)
{
    for (size_t i = 0; i < url.size; i++)
        if ((unsigned char)url.data[i] <= ' ' || url.data[i] == 0x7f)
            return false;
    return slice_starts_nocase(url, SLICE("http://")) || slice_starts_nocase(url, SLICE("https://"));
}

/* The page that the form names for this outcome, with the values in it; false if it names none that is there. */
static bool answer_named(const struct gathered *g, const struct frontpage_post *post, struct slice path, struct slice setting,
                         struct slice faults, struct answer *answer)
{
    struct site_file file;
    struct page page;
    struct confirming confirming = {g, faults};
    struct slice url = slice_trim(page_setting(g->arena, g->page, g->form, setting, 0));
    if (url.size == 0)
        return false;
    if (is_web_address(url)) {
        answer_text(answer, 303, "Thank you.");
        buf_append(&answer->location, url);
        return true;
    }
    struct slice target = site_resolve(g->arena, path, url);
    if (slice_is_absent(target) || !site_open(post->config->web.pages, g->arena, target, &file))
        return false;
    if (file.is_page) {
        page_read(g->arena, buf_slice(&file.content), &page);
        struct page_rendering with = {gateway_action(g->arena, target), SLICE(""), confirmed_value, &confirming};
        render(g->arena, &page, &with, answer);
        put_base(answer, target);
    }
    buf_finish(&file.content);
    return file.is_page;
}

static void put_return_link(struct buf *html, struct slice path)
{
    buf_append_text(html, "<p><a href=\"");
    html_escape(html, path);
    buf_append_text(html, "\">Return to the form.</a></p>\n");
}

static void answer_confirmation(const struct gathered *g, const struct results *results, struct slice path,
                                struct answer *answer)
{
    struct buf html = {0};
    struct results shown = {arena_alloc(g->arena, (results->count + 1) * sizeof *shown.fields), 0};
    for (size_t i = 0; i < results->count; i++)
        if (!results->fields[i].is_builtin)
            shown.fields[shown.count++] = results->fields[i];
    buf_append_text(&html, "<p>Thank you for submitting the following information:</p>\n");
    results_put(&shown, RESULTS_BR, true, &html);
    put_return_link(&html, path);
    answer_page(answer, 200, "Form Confirmation", buf_slice(&html));
    buf_finish(&html);
}

static void answer_faults(struct slice faults, struct slice path, struct answer *answer)
{
    struct buf html = {0};
    buf_append_text(&html, "<p>Please correct the following errors and submit the form again:</p>\n<ul>\n");
    while (faults.size) {
        buf_append_text(&html, "<li>");
        html_escape(&html, slice_cut(&faults, '\n'));
        buf_append_text(&html, "</li>\n");
    }
    buf_append_text(&html, "</ul>\n");
    put_return_link(&html, path);
    answer_page(answer, 422, "Form Validation Error", buf_slice(&html));
    buf_finish(&html);
}

/* ---- a post ---- */

static void accept(const struct gathered *g, const struct frontpage_post *post, struct slice path, struct answer *answer)
{
    struct error error;
    struct results results;
    gathered_results(g, &results);
    if (!results_file_write(g, post->config->web.results, path, &results, &error)
        || !form_mail_send(g, post->config, &results, &error)) {
        answer_text(answer, 503, "Your form was not sent: the server can't keep it now. Please try again later.");
        return;
    }
    if (!answer_named(g, post, path, SLICE("U-Confirmation-Url"), SLICE(""), answer))
        answer_confirmation(g, &results, path, answer);
}

static void take(struct arena *arena, const struct frontpage_post *post, const struct page *page, struct slice path,
                 struct answer *answer)
{
    struct form_body body;
    struct gathered gathered;
    struct error error;
    struct buf faults = {0};
    enum form_result result = form_body_read(arena, post->content_type, post->body, &body, &error);
    if (result != FORM_DONE) {
        static const unsigned codes[] = {[FORM_MALFORMED] = 400, [FORM_TOO_MUCH] = 413, [FORM_OTHER_TYPE] = 415};
        answer_text(answer, codes[result], error.text);
        return;
    }
    gather(arena, page, &body, &post->visit, &gathered);
    if (!gathered.form)
        answer_text(answer, 404, "That page has no form whose results are kept.");
    else if (gathered_check(&gathered, &faults))
        accept(&gathered, post, path, answer);
    else if (!answer_named(&gathered, post, path, SLICE("U-Validation-Error-Url"), buf_slice(&faults), answer))
        answer_faults(buf_slice(&faults), path, answer);
    else if (answer->status == 200)
        answer->status = 422;
    buf_finish(&faults);
}

void frontpage_post(struct arena *arena, const struct frontpage_post *post, struct answer *answer)
{
    struct site_file file;
    struct page page;
    struct slice path = page_path(arena, post);
    if (slice_is_absent(path) || !post->config->web.pages || !site_open(post->config->web.pages, arena, path, &file)) {
        answer_text(answer, 404, "There is no such page.");
        return;
    }
    if (file.is_page) {
        page_read(arena, buf_slice(&file.content), &page);
        take(arena, post, &page, file.path, answer);
    } else {
        answer_text(answer, 404, "There is no such page.");
    }
    buf_finish(&file.content);
}
