/* outgoing: the properties of a message to be sent, gathered from NewMail or Message, and its way into Pickup.
 *
 * G1  texts are heap copies, NULL if never set; outgoing_finish() frees all
 * G2  recipients are parted by ";" or ","; "Company<a@b>" and "a@b (Name)" are understood; each address once
 * G3  Bcc is only in the envelope
 * G4  From that is no address but words ("Automated Sales Report") becomes a local name, which the relay completes; without any
 *     From the process's user is the sender */
#ifndef MR_CDONTS_OUTGOING_H
#define MR_CDONTS_OUTGOING_H

#include "cdonts/object.h"
#include "message/compose.h"
#include "pickup/pickup_writer.h"

struct outgoing_file {
    enum compose_kind kind;
    char *name, *type, *id, *location, *base;
    char *bytes;
    size_t size;
};

struct outgoing_field { char *name, *value; };

struct outgoing {
    char *from, *to, *cc, *bcc, *subject, *plain, *html, *calendar, *calendar_method, *location, *base, *pickup;
    struct outgoing_field *fields;
    size_t field_count;
    struct outgoing_file *files;
    size_t file_count;
    int importance;
    int64_t deliver_at_ms;
};

void outgoing_finish(struct outgoing *outgoing);
/* Both take what is passed, on failure too; false: no memory. */
MUST_USE bool outgoing_add_field(struct outgoing *outgoing, char *taken_name, char *taken_value);
MUST_USE bool outgoing_add_file(struct outgoing *outgoing, struct outgoing_file *taken_file);
void outgoing_file_finish(struct outgoing_file *file);

/* `out` gets the message as it stands behind X-Receiver; with SEND it is put into Pickup under `ret_name`. */
enum outgoing_way { OUTGOING_COMPOSE, OUTGOING_SEND };
MUST_USE uint32_t outgoing_submit(const struct outgoing *outgoing, enum outgoing_way way, struct buf *out,
                                  char ret_name[PICKUP_WRITER_NAME_SIZE], struct cdonts_error *error);

#endif
