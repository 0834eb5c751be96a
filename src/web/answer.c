#include "web/answer.h"

#include "base/json.h"
#include "web/html.h"

static const char style[] =
    "<style>:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:3rem auto;"
    "padding:0 1rem}h1{font-size:1.5rem}dt,b{font-weight:600}a{color:LinkText}li{margin:.25rem 0}</style>";

void answer_page(struct answer *answer, unsigned status, const char *title, struct slice html)
{
    answer->status = status;
    answer->type = "text/html; charset=utf-8";
    buf_clear(&answer->body);
    buf_append_text(&answer->body, "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><meta name=\"viewport\" "
                                   "content=\"width=device-width\"><title>");
    html_escape(&answer->body, slice_of(title));
    buf_printf(&answer->body, "</title>%s</head>\n<body>\n<main><h1>", style);
    html_escape(&answer->body, slice_of(title));
    buf_append_text(&answer->body, "</h1>\n");
    buf_append(&answer->body, html);
    buf_append_text(&answer->body, "</main>\n</body>\n</html>\n");
}

void answer_text(struct answer *answer, unsigned status, const char *text)
{
    struct buf html = {0};
    buf_append_text(&html, "<p>");
    html_escape(&html, slice_of(text));
    buf_append_text(&html, "</p>\n");
    answer_page(answer, status, status < 400 ? "Done" : "That did not work", buf_slice(&html));
    buf_finish(&html);
}

void answer_json_error(struct answer *answer, unsigned status, const char *text)
{
    answer->status = status;
    answer->type = "application/json";
    buf_clear(&answer->body);
    json_open(&answer->body, '{');
    json_put_text(&answer->body, "error", slice_of(text));
    json_close(&answer->body, '}');
    buf_append_byte(&answer->body, '\n');
}

void answer_finish(struct answer *answer)
{
    buf_finish(&answer->body);
    buf_finish(&answer->location);
    buf_finish(&answer->cookie);
    buf_finish(&answer->origin);
}
