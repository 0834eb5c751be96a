/* html: a page cut into tags, comments and text, as much of it as forms need.   WHATWG HTML 13.2.5
 *
 * T1  any octets are a page: what is no tag is text, an unclosed tag or comment reaches to the end
 * T2  names match without case; an attribute may have no value, single or double quotes or none, line ends around "="
 * T3  an attribute may come more than once: all are kept, in their order
 * T4  what stands in script, style, textarea and title is text up to the closing tag
 * T5  slices point into the page; entities are not resolved (html_decode does it)
 * Linear in the page's size. Not here: what the tags mean (web/webbot.h). */
#ifndef MR_WEB_HTML_H
#define MR_WEB_HTML_H

#include "base/arena.h"
#include "base/buf.h"

enum html_kind { HTML_END, HTML_TEXT, HTML_COMMENT, HTML_OPEN, HTML_CLOSE };
enum { HTML_ATTRIBUTES_MAX = 200 }; /* of one tag; more are passed over */

struct html_attribute { struct slice name, value; }; /* value absent: none was written */

struct html_token {
    enum html_kind kind;
    struct slice raw;   /* the whole of it */
    struct slice name;  /* of a tag */
    struct slice text;  /* of a comment: what stands between <!-- and --> */
    struct html_attribute *attributes;
    size_t attribute_count;
};

struct html_cursor { struct slice page; size_t offset; struct slice raw_name; };

/* The next token; kind HTML_END when there is none. Attributes live in the arena. */
void html_next(struct arena *arena, struct html_cursor *cursor, struct html_token *ret_token);
/* name="value" pairs as in a tag or a webbot comment. */
struct html_attribute *html_attributes(struct arena *arena, struct slice text, size_t *ret_count);
/* The first attribute of that name: its value, "" if it has none, absent if it isn't there. */
struct slice html_attribute(const struct html_attribute *attributes, size_t count, struct slice name);
/* &lt; &#8364; &#x20ac; and the Latin-1 names, resolved to UTF-8. Others stay as they are. */
struct slice html_decode(struct arena *arena, struct slice text);
/* Only &#8364;: what browsers post for characters that the page's charset lacks. */
struct slice html_decode_numbers(struct arena *arena, struct slice text);
/* Escaped for text and for quoted attributes. */
void html_escape(struct buf *out, struct slice text);

#endif
