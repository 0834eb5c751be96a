/* receipt: what became of a pickup file, as Receipts/NAME.json, for the application that wrote it.
 *
 *   {"pickup": "a.eml", "id": "0018f0…", "message_id": "<…>", "from": "a@b",
 *    "arrived": "2026-…Z", "done": false,
 *    "recipients": [{"to": "c@d", "state": "queued", "attempts": 1, "status": "4.7.1",
 *                    "reply": "451 …", "host": "mx.d", "last_attempt": "2026-…Z",
 *                    "next": "2026-…Z"}]}
 *
 * R1  one line of JSON, ended by a line feed; states as in store/filter.h; null is what isn't known
 * R2  a reader sees a whole receipt or none: the last one written is renamed into place
 * R3  NAME is the pickup file's, made safe as in outcome/name.h; "next" is for what is queued only
 * R4  a file of a folder in Pickup, "shop/a.eml", has its receipt in a folder of that name: Receipts/shop/a.eml.json; the relay
 *     makes it (mode 0750), who may read it is its owner's to say
 * R5  not synced: queue and events are the record, a receipt is a copy that a crash may lose
 * A message without pickup name (made by the relay itself) has no receipt; that is success. */
#ifndef MR_OUTCOME_RECEIPT_H
#define MR_OUTCOME_RECEIPT_H

#include "store/store.h"

MUST_USE bool receipt_write(int folder_fd, const struct store_message *message,
                            const struct store_recipient *recipients, size_t count, bool is_done,
                            struct error *error);

#endif
