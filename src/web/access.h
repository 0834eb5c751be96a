/* access: who asks: the admin page's token, sessions made with it, and tokens with scopes.   admin.h A1, A3, A4 */
#ifndef MR_WEB_ACCESS_H
#define MR_WEB_ACCESS_H

#include "web/request.h"

enum { SCOPE_READ = 1, SCOPE_SEND = 2, SCOPE_MANAGE = 4, SCOPE_ALL = 7 };

struct access;
/* Reads or makes web.token_file. */
MUST_USE bool access_open(const struct config *config, struct access **ret_access, struct error *error);
void access_close(struct access **access);
/* The scopes of this request, 0 for none. `is_change`: it isn't just looking, so a session must show that our page asks. */
unsigned access_of(struct access *access, const struct request *request, bool is_change);
/* True: the token was right, and `cookie` is the Set-Cookie value of a new session. */
MUST_USE bool access_login(struct access *access, const struct request *request, struct slice token, struct buf *cookie,
                           bool *ret_is_too_often);
void access_logout(struct access *access, const struct request *request, struct buf *cookie);

#endif
