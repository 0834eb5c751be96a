/* answer: what goes back over HTTP, made before any of it is sent. */
#ifndef MR_WEB_ANSWER_H
#define MR_WEB_ANSWER_H

#include "base/buf.h"

struct answer {
    unsigned status;
    const char *type;   /* with charset; ours or a static text */
    struct buf body;
    struct buf location, cookie, origin; /* empty: none; no control octets; origin: who else may read it (CORS) */
    bool is_foreign_page; /* of the site: our Content-Security-Policy would break it */
    bool is_cached;     /* may be kept for a while */
};

/* A small page of ours: title, and `html` which is already escaped. */
void answer_page(struct answer *answer, unsigned status, const char *title, struct slice html);
void answer_text(struct answer *answer, unsigned status, const char *text);
void answer_json_error(struct answer *answer, unsigned status, const char *text);
void answer_finish(struct answer *answer);

#endif
