/* cdonts: Collaboration Data Objects for NTS, for today: objects that compose mail, send it, and read a Drop folder.
 *
 *     struct cdonts_error error;
 *     struct cdonts_object *mail = cdonts_create("NewMail", &error);
 *     cdonts_put_text(mail, "From", "app@example.com", &error);
 *     cdonts_put_text(mail, "To", "a@example.net; Bé <b@example.net>", &error);
 *     cdonts_put_text(mail, "Subject", "Grüße", &error);
 *     cdonts_put_text(mail, "Body", "…", &error);
 *     cdonts_attach_file(mail, "/tmp/report.pdf", NULL, CDONTS_BASE64, &error);
 *     if (cdonts_send(mail, &error) == CDONTS_OK)
 *         name = cdonts_get_text(mail, "PickupName", &error);      … cdonts_free(name);
 *     cdonts_release(mail);
 *
 * Every object answers to the names of CDONTS's own documentation, in any case; cdonts(3) lists them.
 *
 * N1  text is UTF-8 and NUL-terminated; what is passed is copied, what is given back is the caller's to cdonts_free()
 * N2  every function returns 0 or one of CDONTS's codes below; `error` (may be NULL) then holds code and words
 * N3  an object is used by one thread at a time; different objects by different threads. No globals, no logging
 * N4  after a Send that succeeded the object answers CDONTS_E_INVALID_OBJECT to all but what it did: PickupName, Version
 * N5  a value that can't be in a header (control characters, ill-formed UTF-8) is refused when it is set; Send then fails
 *     with the same code, so that a script that goes on after errors sends nothing half-made
 * N6  a message is in the pickup folder whole and synced, or not at all. The folder: the object's PickupFolder, else
 *     MAILROOT_PICKUP in the environment, on Windows else HKLM\Software\mailroot, value Pickup, else the usual place
 * N7  large memory that the system refuses is CDONTS_E_NOT_ENOUGH_MEMORY; where a few kilobytes are refused the process
 *     aborts, as with most libraries */
#ifndef CDONTS_H
#define CDONTS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define CDONTS_API
#else
#define CDONTS_API __attribute__((visibility("default")))
#endif

enum { CDONTS_TO = 1, CDONTS_CC = 2, CDONTS_BCC = 3 };
enum { CDONTS_LOW = 0, CDONTS_NORMAL = 1, CDONTS_HIGH = 2 };
enum { CDONTS_FILE_DATA = 1, CDONTS_EMBEDDED_MESSAGE = 4 };
enum { CDONTS_INBOX = 1, CDONTS_OUTBOX = 2 };
enum { CDONTS_MIME = 0, CDONTS_TEXT = 1 };
enum { CDONTS_BODY_HTML = 0, CDONTS_BODY_TEXT = 1 };
enum { CDONTS_UUENCODE = 0, CDONTS_BASE64 = 1, CDONTS_ENCODING_DEFAULT = -1 };

#define CDONTS_OK 0u
#define CDONTS_E_CALL_FAILED 0x80004005u
#define CDONTS_E_NOT_ENOUGH_MEMORY 0x8007000Eu
#define CDONTS_E_INVALID_PARAMETER 0x80070057u
#define CDONTS_E_INTERFACE_NOT_SUPPORTED 0x80004002u
#define CDONTS_E_NO_ACCESS 0x80070005u
#define CDONTS_E_NO_SUPPORT 0x80040102u
#define CDONTS_E_STRING_TOO_LONG 0x80040105u
#define CDONTS_E_INVALID_OBJECT 0x80040108u
#define CDONTS_E_OBJECT_DELETED 0x8004010Au
#define CDONTS_E_NOT_FOUND 0x8004010Fu
#define CDONTS_E_LOGON_FAILED 0x80040111u
#define CDONTS_E_DISK_ERROR 0x80040116u
#define CDONTS_E_CORRUPT_DATA 0x8004011Bu
#define CDONTS_E_UNKNOWN_CPID 0x8004011Eu
#define CDONTS_E_BAD_VALUE 0x80040301u
#define CDONTS_E_INVALID_TYPE 0x80040302u
#define CDONTS_E_TOO_BIG 0x80040305u
#define CDONTS_E_TIMEOUT 0x80040401u
#define CDONTS_E_NOT_INITIALIZED 0x80040605u
#define CDONTS_E_NO_RECIPIENTS 0x80040607u
#define CDONTS_E_SUBMITTED 0x80040608u
#define CDONTS_E_AMBIGUOUS_RECIP 0x80040700u
#define CDONTS_E_UNKNOWN_NAME 0x80020006u /* no such member: COM's own */

struct cdonts_error {
    uint32_t code;
    char text[512]; /* printable, one line */
};

struct cdonts_object;

/* "NewMail" or "Session", with or without "CDONTS." in front; NULL and CDONTS_E_NOT_FOUND for others. One reference. */
CDONTS_API struct cdonts_object *cdonts_create(const char *class_name, struct cdonts_error *error);
CDONTS_API struct cdonts_object *cdonts_retain(struct cdonts_object *object);
CDONTS_API void cdonts_release(struct cdonts_object *object); /* NULL does nothing */
CDONTS_API const char *cdonts_class_name(const struct cdonts_object *object); /* static */
CDONTS_API void cdonts_free(void *memory);

/* ---- properties ---- */
CDONTS_API uint32_t cdonts_put_text(struct cdonts_object *object, const char *member, const char *text,
                                    struct cdonts_error *error);
CDONTS_API uint32_t cdonts_put_number(struct cdonts_object *object, const char *member, int64_t number,
                                      struct cdonts_error *error);
CDONTS_API char *cdonts_get_text(struct cdonts_object *object, const char *member, struct cdonts_error *error);
CDONTS_API int64_t cdonts_get_number(struct cdonts_object *object, const char *member, struct cdonts_error *error);
/* A property or a method without arguments that gives an object: Inbox, Messages, GetFirst, Recipients… NULL at the end of a
 * list (code 0) or on error. One reference. */
CDONTS_API struct cdonts_object *cdonts_get_object(struct cdonts_object *object, const char *member,
                                                   struct cdonts_error *error);

/* ---- NewMail ---- */
CDONTS_API uint32_t cdonts_set_header(struct cdonts_object *mail, const char *header, const char *value,
                                      struct cdonts_error *error); /* Value(header) = value */
CDONTS_API uint32_t cdonts_attach_file(struct cdonts_object *mail, const char *path, const char *shown_name, int encoding,
                                       struct cdonts_error *error);
CDONTS_API uint32_t cdonts_attach_url(struct cdonts_object *mail, const char *path, const char *content_location,
                                      const char *content_base, int encoding, struct cdonts_error *error);
/* Bytes instead of a file; `content_id` makes it an image that the HTML shows as <img src="cid:…">; NULL: an attachment. */
CDONTS_API uint32_t cdonts_attach_bytes(struct cdonts_object *mail, const void *bytes, size_t size, const char *shown_name,
                                        const char *content_id, struct cdonts_error *error);
CDONTS_API uint32_t cdonts_send(struct cdonts_object *mail, struct cdonts_error *error); /* NewMail or Message */
/* What Send would put behind the envelope's lines, without sending. cdonts_free() it. */
CDONTS_API char *cdonts_compose(struct cdonts_object *mail, size_t *ret_size, struct cdonts_error *error);

/* Waits until every recipient of a pickup file has its outcome, by its receipt (mailroot.conf: receipts.enabled = true).
 * `receipts_folder` NULL: MAILROOT_RECEIPTS, else the usual place. 0: all delivered; CDONTS_E_CALL_FAILED: one was not, words in
 * `error`; CDONTS_E_TIMEOUT: not yet. */
CDONTS_API uint32_t cdonts_wait(const char *pickup_name, const char *receipts_folder, int timeout_ms,
                                struct cdonts_error *error);

/* ---- any member, for bindings ---- */
enum cdonts_kind { CDONTS_EMPTY, CDONTS_NUMBER, CDONTS_STRING, CDONTS_BYTES, CDONTS_REFERENCE, CDONTS_TIME };
enum cdonts_access { CDONTS_GET = 1, CDONTS_PUT = 2, CDONTS_CALL = 4 };

struct cdonts_value {
    enum cdonts_kind kind;
    int64_t number;      /* NUMBER; TIME: milliseconds of Unix time */
    char *text;          /* STRING: NUL-terminated; BYTES */
    size_t size;         /* octets of text */
    struct cdonts_object *object;
};

#define CDONTS_MEMBER_DEFAULT 0
/* A number for a name; CDONTS_MEMBER_DEFAULT (0) is the class's default member, others count from 1; -1: none. */
CDONTS_API int cdonts_member_find(const struct cdonts_object *object, const char *name);
CDONTS_API const char *cdonts_member_name(const struct cdonts_object *object, int member); /* NULL beyond the last */
/* `access` is a set: CDONTS_GET | CDONTS_CALL where the language can't tell. Arguments in CDONTS's order, a PUT's value last;
 * EMPTY for those left out. They stay the caller's. `ret` is cleared with cdonts_value_clear(). */
CDONTS_API uint32_t cdonts_invoke(struct cdonts_object *object, int member, unsigned access,
                                  const struct cdonts_value *arguments, size_t count, struct cdonts_value *ret,
                                  struct cdonts_error *error);
CDONTS_API void cdonts_value_clear(struct cdonts_value *value);

#ifdef __cplusplus
}
#endif
#endif
