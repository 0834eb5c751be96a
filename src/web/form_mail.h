/* form_mail: a form's results as mail, put into Pickup.   Q301290, Q183784, Q165347
 *
 * M1  To: S-Email-Address (one or more addresses); From and sender: web.from; Reply-To: S-Email-ReplyTo, or the field it names
 * M2  what a visitor typed goes into a header only as Subject (controls become blanks, encoded-words) and as a Reply-To that is
 *     one valid address
 * M3  uploads are attached */
#ifndef MR_WEB_FORM_MAIL_H
#define MR_WEB_FORM_MAIL_H

#include "config/config.h"
#include "web/gather.h"
#include "web/letter.h"

/* True too if the form has no address: nothing is to be sent. True means: durable. */
MUST_USE bool form_mail_send(const struct gathered *gathered, const struct config *config, const struct results *results,
                             struct error *error);
/* Composes and puts a letter of the server's into Pickup; `to` is an address list. */
MUST_USE bool form_mail_submit(struct arena *arena, const struct config *config, struct slice to, struct letter *letter,
                               struct error *error);
/* A list of that one address, or of none if it is none. */
void form_mail_one_address(struct arena *arena, struct slice text, struct address_list *ret_list);

#endif
