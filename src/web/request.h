/* request: one HTTP request, whole in memory, as the parts that answer it see it. Private to src/web.
 * Texts live in the arena or the connection; `path` and arguments are unescaped once and may hold any octet but NUL. */
#ifndef MR_WEB_REQUEST_H
#define MR_WEB_REQUEST_H

#include "config/config.h"
#include "web/answer.h"
#include "web/form_body.h"

struct MHD_Connection;
struct admin;

struct request {
    struct arena arena;
    struct MHD_Connection *connection;
    const struct config *config;
    struct admin *admin;          /* NULL: off */
    struct slice method, path;
    struct slice host;            /* of the Host field, without port, lower case */
    struct slice address;         /* of the visitor */
    struct buf body;
    int64_t started_ms;           /* monotonic */
    bool is_too_much;             /* the body was over the limit and is not kept */
    bool is_refused;              /* answered before its body */
};

struct slice request_header(const struct request *request, const char *name);   /* absent if there is none */
struct slice request_argument(const struct request *request, const char *name); /* of the query */
/* An Origin field, if there is one, names this very host. */
bool request_is_own_origin(const struct request *request);

#endif
