#include "web/results.h"

#include "base/utf8.h"
#include "web/html.h"

enum { STARS = 79, LABEL_SIZE_MAX = 60 };
static const char insert_mark[] = "<!--webbot bot=\"FormInsertHere\" -->";

enum results_format results_format_of(struct slice name)
{
    static const struct { const char *name; enum results_format format; } formats[] = {
        {"TEXT/PRE", RESULTS_PRE}, {"TEXT/CSV", RESULTS_CSV}, {"TEXT/TSV", RESULTS_TSV}, {"HTML/BR", RESULTS_BR},
        {"HTML/DL", RESULTS_DL},   {"HTML/UL", RESULTS_UL},   {"HTML/OL", RESULTS_OL},   {"HTML", RESULTS_DL},
    };
    for (size_t i = 0; i < COUNT_OF(formats); i++)
        if (slice_equals_nocase(slice_trim(name), slice_of(formats[i].name)))
            return formats[i].format;
    return RESULTS_PRE;
}

bool results_is_html(enum results_format format)
{
    return format >= RESULTS_BR;
}

static size_t width_of(struct slice text)
{
    size_t width = 0;
    for (size_t i = 0; i < text.size; i++)
        width += ((unsigned char)text.data[i] & 0xC0) != 0x80;
    return width;
}

/* Values stand on one line but in blocks; line ends become blanks. */
static void put_line(struct buf *out, struct slice value)
{
    for (size_t i = 0; i < value.size; i++)
        if (value.data[i] != '\r')
            buf_append_byte(out, value.data[i] == '\n' ? ' ' : value.data[i]);
}

static void put_block(struct buf *out, struct slice value, const char *line_end)
{
    for (size_t i = 0; i < value.size; i++) {
        if (value.data[i] == '\n')
            buf_append_text(out, line_end);
        else if (value.data[i] != '\r')
            buf_append_byte(out, value.data[i]);
        else if (i + 1 == value.size || value.data[i + 1] != '\n')
            buf_append_text(out, line_end);
    }
}

/* ---- TEXT/PRE ---- */

static void put_pre(const struct results *results, bool has_labels, struct buf *out)
{
    size_t width = 0;
    for (size_t i = 0; i < results->count; i++) {
        size_t label = width_of(results->fields[i].label);
        if (!results->fields[i].is_area && label > width && label <= LABEL_SIZE_MAX)
            width = label;
    }
    for (int i = 0; i < STARS; i++)
        buf_append_byte(out, '*');
    buf_append_text(out, "\r\n\r\n");
    for (size_t i = 0; i < results->count; i++) {
        const struct result_field *field = &results->fields[i];
        if (field->is_area)
            continue;
        if (has_labels) {
            put_line(out, field->label);
            buf_append_byte(out, ':');
            for (size_t at = width_of(field->label) + 1; at < width + 2; at++)
                buf_append_byte(out, ' ');
            if (width_of(field->label) > width)
                buf_append_byte(out, ' ');
        }
        put_line(out, field->value);
        buf_append_text(out, "\r\n");
    }
    for (size_t i = 0; i < results->count; i++) {
        const struct result_field *field = &results->fields[i];
        if (!field->is_area)
            continue;
        buf_append_text(out, "\r\n");
        if (has_labels) {
            put_line(out, field->label);
            buf_append_text(out, ":\r\n\r\n");
        }
        put_block(out, field->value, "\r\n");
        buf_append_text(out, "\r\n");
    }
}

/* ---- TEXT/CSV, TEXT/TSV ---- */

static bool is_formula(struct slice value) /* R6 */
{
    if (value.size == 0 || !memchr("=+-@\t", value.data[0], 5))
        return false;
    for (size_t i = 1; i < value.size; i++)
        if (!memchr("0123456789., ()-/", value.data[i], 17))
            return true;
    return value.data[0] == '=' || value.data[0] == '@';
}

static void put_cell(struct buf *out, struct slice value)
{
    buf_append_byte(out, '"');
    if (is_formula(value))
        buf_append_byte(out, '\'');
    for (size_t i = 0; i < value.size; i++) {
        if (value.data[i] == '"')
            buf_append_byte(out, '"');
        buf_append_byte(out, value.data[i]);
    }
    buf_append_byte(out, '"');
}

static void put_row(const struct results *results, enum results_format format, bool is_labels, struct buf *out)
{
    for (size_t i = 0; i < results->count; i++) {
        if (i)
            buf_append_byte(out, format == RESULTS_TSV ? '\t' : ',');
        put_cell(out, is_labels ? results->fields[i].label : results->fields[i].value);
    }
    buf_append_text(out, "\r\n");
}

void results_put_labels(const struct results *results, enum results_format format, struct buf *out)
{
    put_row(results, format, true, out);
}

/* ---- HTML ---- */

static size_t link_size(struct slice rest)
{
    static const char *const schemes[] = {"http://", "https://", "mailto:"};
    for (size_t i = 0; i < COUNT_OF(schemes); i++) {
        struct slice scheme = slice_of(schemes[i]);
        if (!slice_starts_nocase(rest, scheme))
            continue;
        size_t size = scheme.size;
        while (size < rest.size && (unsigned char)rest.data[size] > ' ' && !strchr("<>\"'", rest.data[size]))
            size++;
        return size > scheme.size ? size : 0;
    }
    return 0;
}

static void put_html(struct buf *out, struct slice value) /* R5 */
{
    struct slice line_clean = value;
    for (size_t i = 0; i < line_clean.size;) {
        struct slice rest = slice_from(line_clean, i);
        size_t size = link_size(rest);
        if (size) {
            buf_append_text(out, "<a href=\"");
            html_escape(out, slice_first(rest, size));
            buf_append_text(out, "\">");
            html_escape(out, slice_first(rest, size));
            buf_append_text(out, "</a>");
        } else {
            size = 1;
            if (rest.data[0] == '\n')
                buf_append_text(out, "<br>\r\n");
            else if (rest.data[0] != '\r')
                html_escape(out, slice_first(rest, 1));
        }
        i += size;
    }
}

static void put_html_label(struct buf *out, struct slice label, bool has_labels)
{
    if (!has_labels)
        return;
    buf_append_text(out, "<b>");
    html_escape(out, label);
    buf_append_text(out, ": </b>");
}

struct layout { const char *open, *close, *before, *between, *after; };

static void put_html_fields(const struct results *results, const struct layout *layout, bool has_labels, struct buf *out)
{
    bool is_open = false;
    for (size_t i = 0; i < results->count; i++) {
        const struct result_field *field = &results->fields[i];
        if (field->is_area)
            continue;
        if (!is_open)
            buf_append_text(out, layout->open);
        is_open = true;
        buf_append_text(out, layout->before);
        put_html_label(out, field->label, has_labels);
        buf_append_text(out, layout->between);
        put_html(out, field->value);
        buf_append_text(out, layout->after);
    }
    if (is_open)
        buf_append_text(out, layout->close);
}

static void put_html_areas(const struct results *results, bool has_labels, struct buf *out)
{
    for (size_t i = 0; i < results->count; i++) {
        const struct result_field *field = &results->fields[i];
        if (!field->is_area)
            continue;
        if (has_labels) {
            buf_append_text(out, "<h3>");
            html_escape(out, field->label);
            buf_append_text(out, "</h3>\r\n");
        }
        buf_append_text(out, "<p>");
        put_html(out, field->value);
        buf_append_text(out, "</p>\r\n");
    }
}

void results_put(const struct results *results, enum results_format format, bool has_labels, struct buf *out)
{
    static const struct layout layouts[] = {
        [RESULTS_BR] = {"<p>", "</p>\r\n", "", "", "<br>\r\n"},
        [RESULTS_DL] = {"<dl>\r\n", "</dl>\r\n", "<dt>", "</dt>\r\n<dd>", "</dd>\r\n"},
        [RESULTS_UL] = {"<ul>\r\n", "</ul>\r\n", "<li>", "", "</li>\r\n"},
        [RESULTS_OL] = {"<ol>\r\n", "</ol>\r\n", "<li>", "", "</li>\r\n"},
    };
    if (format == RESULTS_PRE) {
        put_pre(results, has_labels, out);
    } else if (format == RESULTS_CSV || format == RESULTS_TSV) {
        put_row(results, format, false, out);
    } else {
        buf_append_text(out, "<hr>\r\n");
        put_html_fields(results, &layouts[format], has_labels, out);
        put_html_areas(results, has_labels, out);
    }
}

/* ---- results files ---- */

static void put_new_html(const struct results_file *file, struct buf *out)
{
    buf_append_text(out, "<html>\r\n<head>\r\n<meta http-equiv=\"Content-Type\" content=\"text/html; charset=utf-8\">\r\n<title>");
    html_escape(out, file->title);
    buf_append_text(out, "</title>\r\n</head>\r\n<body>\r\n<h1>");
    html_escape(out, file->title);
    buf_printf(out, "</h1>\r\n%s\r\n</body>\r\n</html>\r\n", insert_mark);
}

/* Where the mark begins and ends; false if the file has none. */
static bool find_mark(struct slice text, size_t *ret_start, size_t *ret_end)
{
    for (size_t i = 0; i + 14 < text.size; i++) {
        if (!slice_starts_nocase(slice_from(text, i), SLICE("FormInsertHere")))
            continue;
        size_t start = i, end = i;
        while (start > 0 && text.data[start] != '<')
            start--;
        while (end < text.size && text.data[end] != '>')
            end++;
        *ret_start = start;
        *ret_end = end < text.size ? end + 1 : end;
        return true;
    }
    return false;
}

void results_merge(const struct results_file *file, struct buf *out)
{
    struct buf made = {0};
    struct slice old = file->old;
    size_t at = old.size, end = old.size;
    if (old.size == 0 && file->is_html) {
        put_new_html(file, &made);
        old = buf_slice(&made);
        at = end = old.size;
    }
    if (file->is_html && find_mark(old, &at, &end))
        at = file->is_newest_first ? end : at;
    else if (file->is_newest_first)
        at = file->labels.size && slice_starts(old, file->labels) ? file->labels.size : 0;
    buf_append(out, slice_first(old, at));
    if (old.size == 0)
        buf_append(out, file->labels);
    if (file->is_html && file->is_newest_first)
        buf_append_text(out, "\r\n");
    buf_append(out, file->record);
    buf_append(out, slice_from(old, at));
    buf_finish(&made);
}
