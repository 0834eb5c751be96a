/* return_path: which envelope sender a message leaves with, and where what comes back to it goes.
 *
 *   sender {
 *       ours = "example.com, *.example.com"   masquerade_domain = "example.com"
 *       srs_domain = "fwd.example.com"        secret_files = "/etc/mailroot/sender.secret"
 *       verp = "news@example.com"
 *   }
 *   rewrite { senders = "root@web1.example.com = admin@example.com, @old.example = @example.com" }
 *
 * F1  at intake, once: the first rule of rewrite.senders that fits, or else sender.masquerade_domain for a domain of ours;
 *     rewrite.recipients for each recipient. The header stays as it is
 * F2  as it is sent: a sender of sender.verp gets an address for each recipient (message/srs.h), and transactions of their own;
 *     a sender that is not ours gets an SRS address of srs_domain. The queue, events and notices keep the sender as it was
 * F3  at intake: a recipient that is an SRS address of ours becomes the sender that it was made from
 * F4  ours are sender.ours, local.domains, the host's name, default_domain, masquerade_domain, srs_domain, and domains with DKIM keys
 * The secrets: the first file's makes, each is believed (config/secrets.h). Used by any thread. */
#ifndef MR_CONFIG_RETURN_PATH_H
#define MR_CONFIG_RETURN_PATH_H

#include "config/config.h"
#include "message/address.h"
#include "message/srs.h"

struct return_path;

MUST_USE struct return_path *return_path_open(const struct config *config, struct error *error);
void return_path_close(struct return_path **return_path);

/* F1. True if it changed. */
bool return_path_rewrite_sender(const struct config *config, struct arena *arena, struct address *sender);
bool return_path_rewrite_recipient(const struct config *config, struct arena *arena, struct address *recipient);
/* F2. */
bool return_path_is_single(const struct return_path *return_path, struct slice sender); /* one recipient a transaction */
struct slice return_path_of(const struct return_path *return_path, struct arena *arena, struct slice sender, struct slice recipient,
                            int64_t now_ms);
/* F3. */
enum srs_result return_path_back(const struct return_path *return_path, struct arena *arena, struct slice recipient, int64_t now_ms,
                                 struct slice *ret_recipient, struct error *error);
/* Whether mail to that address is a bounce of VERP mail: whose. */
bool return_path_bounced(const struct return_path *return_path, struct arena *arena, struct slice recipient, struct slice *ret_bounced);
/* What is wrong with the rules; false with the first. */
MUST_USE bool return_path_check(const struct config *config, struct error *error);

#endif
