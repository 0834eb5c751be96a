/* What the files of the server machine share.
 *   server.c  lines, the table of commands                server_mail.c  MAIL, RCPT, the envelope, Received
 *   server_client.c  who the client is: EHLO, TLS, AUTH, XCLIENT    server_content.c  DATA and BDAT */
#ifndef MR_SMTPD_SERVER_PRIVATE_H
#define MR_SMTPD_SERVER_PRIVATE_H

#include "smtpd/server.h"

void server_reply(struct server *server, const char *format, ...) FORMAT(2, 3);
void server_refuse(struct server *server, const char *format, ...) FORMAT(2, 3); /* counts as an error: may pause, may close */
void server_break(struct server *server, const char *reply); /* the reply, then the end */
void server_forget_message(struct server *server);

void server_on_ehlo(struct server *server, struct slice argument);
void server_on_helo(struct server *server, struct slice argument);
void server_on_starttls(struct server *server, struct slice argument);
void server_on_auth(struct server *server, struct slice argument);
void server_on_auth_line(struct server *server, struct slice line);
void server_on_xclient(struct server *server, struct slice argument);
void server_on_mail(struct server *server, struct slice argument);
void server_on_rcpt(struct server *server, struct slice argument);
void server_on_data(struct server *server, struct slice argument);
void server_on_bdat(struct server *server, struct slice argument);
size_t server_feed_data(struct server *server, struct slice bytes);
size_t server_feed_chunk(struct server *server, struct slice bytes);
/* The Received line and the origin, put into the submission. */
void server_complete_submission(struct server *server);

#endif
