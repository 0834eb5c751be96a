/* frontpage: a site's pages given out, and their forms' posts made into mail and results files.
 *
 *   GET /a/page.htm                       the page, its forms pointing here (webbot.h P6)
 *   POST …/_vti_bin/shtml.dll/a/page.htm  also shtml.exe; what stands in front of _vti_bin is the folder of a subweb
 *   POST …/--WEBBOT-SELF--                a page that was never published: Referer names it
 *
 * S1  recipient, subject, format, confirmation page: from the page on disk, never the request
 * S2  From and the envelope's sender are the server's (web.from); the visitor may become Reply-To
 * S3  the answer comes when mail and file are durable; if they can't be: 503, never a thank-you
 * S4  results files lie under web.results alone, whatever U-File says; absolute and Windows paths keep only their last part */
#ifndef MR_WEB_FRONTPAGE_H
#define MR_WEB_FRONTPAGE_H

#include "config/config.h"
#include "web/answer.h"
#include "web/gather.h"

struct frontpage_post {
    const struct config *config;
    struct slice path, referer_path; /* unescaped; referer_path absent if it is no page of ours */
    struct slice content_type, body;
    struct visit visit;
};

/* `path` is unescaped; `hidden`: fields for forms that post to endpoints (web/endpoint.h). False: there is no such page (the answer is untouched). */
MUST_USE bool frontpage_get(const struct config *config, struct arena *arena, struct slice path, struct slice hidden,
                            struct answer *answer);
bool frontpage_is_post(struct slice path);
void frontpage_post(struct arena *arena, const struct frontpage_post *post, struct answer *answer);

#endif
