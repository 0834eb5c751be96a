/* gather: a page's form and what was posted to it, brought together: values by name, the records to lay out, the faults.
 *
 * G1  names and values are UTF-8 from here on (charset.h C2); numbers like &#8364; from pages of older charsets are resolved
 * G2  a field posted more than once (boxes, lists) has its values parted by ", "
 * G3  fields that the page doesn't have are kept, behind those it has, unless S-Form-Fields chooses
 * G4  VTI-GROUP and names that begin with "mailroot-" are the gateway's own
 * G5  built-in fields have FrontPage's labels: Remote Name, Remote User, HTTP User Agent, Date, Time */
#ifndef MR_WEB_GATHER_H
#define MR_WEB_GATHER_H

#include "web/form_body.h"
#include "web/results.h"
#include "web/webbot.h"

struct visit { struct slice address, user, agent; int64_t time_s; }; /* of the request */

struct gathered {
    struct arena *arena;
    const struct page *page;
    const struct page_form *form;
    struct form_body body;       /* UTF-8 */
    const struct visit *visit;
};

void gather(struct arena *arena, const struct page *page, const struct form_body *posted, const struct visit *visit,
            struct gathered *ret_gathered);
/* "" if it wasn't posted. Also the built-in names (Date, REMOTE_NAME …), for confirmation pages. */
struct slice gathered_value(const struct gathered *gathered, struct slice name);
void gathered_results(const struct gathered *gathered, struct results *ret_results);
MUST_USE bool gathered_check(const struct gathered *gathered, struct buf *faults); /* lines; true if there is none */
/* The files among the fields; the array lives in the arena. */
struct form_field *gathered_files(const struct gathered *gathered, size_t *ret_count);

#endif
