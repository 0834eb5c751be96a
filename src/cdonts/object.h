/* object: what all objects of CDONTS share: references, a class, and a table of members by which any language reaches them.
 *
 * O1  an object's first field is a struct cdonts_object; class->destroy frees the whole
 * O2  a member is looked up by its name in any case; `count_max` arguments are passed on, those left out as EMPTY
 * O3  a child knows its parent weakly: the parent clears children's pointers when it goes */
#ifndef MR_CDONTS_OBJECT_H
#define MR_CDONTS_OBJECT_H

#include "base/buf.h"
#include "base/error.h"

#include "cdonts/cdonts.h"

#include <stdatomic.h>

struct session_state;

struct call {
    unsigned access; /* one of CDONTS_GET, PUT, CALL */
    const struct cdonts_value *arguments;
    size_t count;
    struct cdonts_value *ret;
    struct cdonts_error *error;
    int tag; /* of the member's row: several rows may share a function */
};

enum { CALL_ARGUMENTS_MAX = 8 };

typedef uint32_t member_fn(struct cdonts_object *object, struct call *call);

struct member {
    const char *name;
    unsigned access;
    unsigned char count_min, count_max; /* arguments, without a PUT's value */
    member_fn *run;
    int tag;
};

struct class {
    const char *name;
    const struct member *members; /* ends with a NULL name */
    int default_member;           /* index in members */
    void (*destroy)(struct cdonts_object *object);
};

struct cdonts_object {
    atomic_int references;
    const struct class *class;
    struct session_state *state; /* a reference, or NULL (NewMail) */
    struct cdonts_object *parent; /* O3 */
};

extern const struct class class_newmail, class_session, class_folder, class_messages, class_message, class_recipients,
    class_recipient, class_attachments, class_attachment, class_address_entry;

void *object_create(size_t size, const struct class *class, struct session_state *state); /* NULL without memory */
/* Both return the code. */
uint32_t call_fail(struct call *call, uint32_t code, const char *format, ...) FORMAT(3, 4);
uint32_t error_fill(struct cdonts_error *error, uint32_t code, const char *format, ...) FORMAT(3, 4);

/* Arguments as what a member needs; numbers in text and text of numbers are taken, as COM does. */
MUST_USE bool call_number(struct call *call, size_t index, int64_t number_default, int64_t *ret_number);
/* A heap copy; absent arguments give NULL with success. */
MUST_USE bool call_text(struct call *call, size_t index, char **ret_text);
bool call_has(const struct call *call, size_t index);

uint32_t call_give_text(struct call *call, const char *text); /* NULL gives "" */
uint32_t call_give_number(struct call *call, int64_t number);
uint32_t call_give_object(struct call *call, struct cdonts_object *taken_object); /* NULL: nothing */
uint32_t call_give_time(struct call *call, int64_t time_ms);

#endif
