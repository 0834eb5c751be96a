/* webbot: what FrontPage wrote into a page for its server: forms, their fields and the webbot comments around them.
 *
 *   <form …><!--webbot bot="SaveResults" S-Email-Address="a@b" … startspan --> … <!--webbot bot="SaveResults" endspan -->
 *   <!--webbot bot="Validation" B-Value-Required="TRUE" --><input name="x">
 *   <!--webbot bot="ConfirmationField" S-Field="x" startspan -->…<!--webbot bot="ConfirmationField" endspan -->
 *
 * P1  the page on disk is the configuration: what a form does is never said by the request
 * P2  names in either case, startspan and endspan anywhere or absent, attributes over several lines, without a value,
 *     more than once, junk words between them
 * P3  a Validation bot guards the next field behind it
 * P4  a form begins at <form and ends at </form>, the next <form or the end of the page
 * P5  texts come as UTF-8 with entities resolved; the page itself is kept as its octets
 * P6  page_render: a form with a SaveResults bot posts to the gateway whatever its action says; that bot's comments, which hold
 *     addresses, stay here; ConfirmationField spans become the escaped values that were posted
 * P7  a form whose action begins with /forms/ gets the hidden fields too (web/endpoint.h)
 * Not here: files (web/frontpage.h), judging values (web/check.h), layouts (web/results.h). */
#ifndef MR_WEB_WEBBOT_H
#define MR_WEB_WEBBOT_H

#include "web/html.h"

enum { PAGE_FORMS_MAX = 100, PAGE_FIELDS_MAX = 2000, PAGE_CONSTRAINTS_MAX = 4 };

enum field_kind { FIELD_TEXT, FIELD_AREA, FIELD_HIDDEN, FIELD_CHECKBOX, FIELD_RADIO, FIELD_SELECT, FIELD_SUBMIT, FIELD_FILE };
enum check_type { CHECK_ANY, CHECK_STRING, CHECK_INTEGER, CHECK_NUMBER };

struct page_check {
    struct slice display;              /* S-Display-Name, or the field's name */
    enum check_type type;
    bool is_required, is_first_refused;
    bool has_letters, has_digits, has_blanks; /* B-Allow-…; all false and no others: anything may stand there */
    struct slice others;               /* S-Allow-Other-Chars */
    struct slice separators;           /* S-Number-Separators: thousands, decimal; "x" = none */
    int64_t size_min, size_max;        /* characters; -1 = not said */
    struct { struct slice relation, value; } constraints[PAGE_CONSTRAINTS_MAX];
    size_t constraint_count;
};

struct page_field {
    struct slice name;
    enum field_kind kind;
    struct slice first;                /* a select's first option: its value */
    struct page_check *check;          /* NULL: none */
};

struct page_form {
    struct slice group;                /* the hidden VTI-GROUP, absent if none */
    struct html_attribute *results;    /* of its SaveResults bot; values raw */
    size_t results_count;
    bool has_results;
    struct page_field *fields;
    size_t field_count;
    size_t tag_offset;                 /* of "<form" in the page */
};

struct page {
    struct slice octets, charset;
    struct page_form *forms;
    size_t form_count;
};

void page_read(struct arena *arena, struct slice octets, struct page *ret_page);
/* The form that a post means: that of VTI-GROUP, else the first with results; NULL if the page has none with results. */
const struct page_form *page_form_find(const struct page *page, struct slice group);
const struct page_field *page_field_find(const struct page_form *form, struct slice name);

/* A setting of the form's SaveResults bot as clean text; `nth` for those that are given twice. Absent if it isn't there. */
struct slice page_setting(struct arena *arena, const struct page *page, const struct page_form *form, struct slice name,
                          size_t nth);
bool page_setting_is(struct arena *arena, const struct page *page, const struct page_form *form, struct slice name,
                     bool standard);
/* The next word of a list that is parted by blanks or commas; false at its end. */
bool page_list_next(struct slice *list, struct slice *ret_word);

/* Values for ConfirmationField spans; absent: the span becomes empty. */
typedef struct slice page_value_fn(void *arg, struct slice name);
/* `action` is the path that forms with results post to; `hidden`: fields to put into each of those forms (HTML), may be "".
 * `fn` NULL leaves ConfirmationField spans as they are. */
struct page_rendering { struct slice action, hidden; page_value_fn *fn; void *arg; };
void page_render(struct arena *arena, const struct page *page, const struct page_rendering *with, struct buf *out);

#endif
