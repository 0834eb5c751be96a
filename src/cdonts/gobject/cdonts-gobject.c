#include "cdonts-gobject.h"

#include "cdonts/cdonts.h"

#include <string.h>

static G_DEFINE_QUARK(cdonts-error-quark, error)

static gboolean done(uint32_t code, const struct cdonts_error *reason, GError **error)
{
    if (code == CDONTS_OK)
        return TRUE;
    g_set_error(error, error_quark(), (int)code, "%08X %s", code, reason->text);
    return FALSE;
}

/* ---- NewMail ---- */

struct _CdontsNewMail {
    GObject parent;
    struct cdonts_object *mail;
};

G_DEFINE_FINAL_TYPE(CdontsNewMail, cdonts_gobject_new_mail, G_TYPE_OBJECT)

/* Property 2n + 1 of GObject is row n by CDONTS's name, 2n + 2 by GNOME's way of writing it, which gjs needs. */
static const struct { const char *name, *hyphened; gboolean is_number; } properties[] = {
    {"To", "to", FALSE},
    {"Cc", "cc", FALSE},
    {"Bcc", "bcc", FALSE},
    {"From", "from", FALSE},
    {"Subject", "subject", FALSE},
    {"Body", "body", FALSE},
    {"BodyFormat", "body-format", TRUE},
    {"MailFormat", "mail-format", TRUE},
    {"Importance", "importance", TRUE},
    {"ContentBase", "content-base", FALSE},
    {"ContentLocation", "content-location", FALSE},
    {"TextBody", "text-body", FALSE},
    {"HTMLBody", "html-body", FALSE},
    {"Calendar", "calendar", FALSE},
    {"CalendarMethod", "calendar-method", FALSE},
    {"Unsubscribe", "unsubscribe", FALSE},
    {"DeliverAt", "deliver-at", TRUE},
    {"PickupFolder", "pickup-folder", FALSE},
    {"PickupName", "pickup-name", FALSE},
    {"Version", "version", FALSE},
};
enum { ROW_READABLE = 18 }; /* PickupName and what follows are read, the others written, as in CDONTS */

/* A property can't fail in GObject: what was refused is told by Send (N5). */
static void set_property(GObject *object, guint id, const GValue *value, GParamSpec *spec)
{
    struct cdonts_object *mail = CDONTS_NEW_MAIL(object)->mail;
    (void)spec;
    if (properties[(id - 1) / 2].is_number)
        (void)cdonts_put_number(mail, properties[(id - 1) / 2].name, g_value_get_int64(value), NULL);
    else
        (void)cdonts_put_text(mail, properties[(id - 1) / 2].name, g_value_get_string(value), NULL);
}

static void get_property(GObject *object, guint id, GValue *value, GParamSpec *spec)
{
    char *text = cdonts_get_text(CDONTS_NEW_MAIL(object)->mail, properties[(id - 1) / 2].name, NULL);
    (void)spec;
    g_value_set_string(value, text);
    cdonts_free(text);
}

static void finalize(GObject *object)
{
    cdonts_release(CDONTS_NEW_MAIL(object)->mail);
    G_OBJECT_CLASS(cdonts_gobject_new_mail_parent_class)->finalize(object);
}

static void cdonts_gobject_new_mail_class_init(CdontsNewMailClass *class)
{
    GObjectClass *object_class = G_OBJECT_CLASS(class);
    object_class->set_property = set_property;
    object_class->get_property = get_property;
    object_class->finalize = finalize;
    for (guint id = 1; id <= 2 * G_N_ELEMENTS(properties); id++) {
        guint row = (id - 1) / 2;
        const char *name = id % 2 ? properties[row].name : properties[row].hyphened;
        GParamFlags flags = (row >= ROW_READABLE ? G_PARAM_READABLE : G_PARAM_WRITABLE) | G_PARAM_STATIC_STRINGS;
        g_object_class_install_property(object_class, id,
                                        properties[row].is_number
                                            ? g_param_spec_int64(name, name, name, G_MININT64, G_MAXINT64, 0, flags)
                                            : g_param_spec_string(name, name, name, NULL, flags));
    }
}

static void cdonts_gobject_new_mail_init(CdontsNewMail *self)
{
    self->mail = cdonts_create("NewMail", NULL);
    if (!self->mail)
        g_error("no memory for a NewMail");
}

/**
 * cdonts_gobject_new_mail_new: (constructor)
 *
 * Returns: (transfer full): a message to set up and send
 */
CdontsNewMail *cdonts_gobject_new_mail_new(void)
{
    return g_object_new(CDONTS_TYPE_NEW_MAIL, NULL);
}

/**
 * cdonts_gobject_new_mail_set_header:
 * @header: its name
 * @value: its value
 *
 * CDONTS's Value(header) = value.
 */
gboolean cdonts_gobject_new_mail_set_header(CdontsNewMail *self, const char *header, const char *value, GError **error)
{
    struct cdonts_error reason;
    return done(cdonts_set_header(self->mail, header, value, &reason), &reason, error);
}

/**
 * cdonts_gobject_new_mail_attach_file:
 * @source: (type filename): a path
 * @file_name: (nullable): the name shown
 * @encoding_method: 0 uuencode, 1 base64, -1 as MailFormat says
 */
gboolean cdonts_gobject_new_mail_attach_file(CdontsNewMail *self, const char *source, const char *file_name, int encoding_method,
                                             GError **error)
{
    struct cdonts_error reason;
    return done(cdonts_attach_file(self->mail, source, file_name, encoding_method, &reason), &reason, error);
}

/**
 * cdonts_gobject_new_mail_attach_url:
 * @source: (type filename): a path
 * @content_location: what the HTML refers to
 * @content_base: (nullable): its base
 */
gboolean cdonts_gobject_new_mail_attach_url(CdontsNewMail *self, const char *source, const char *content_location,
                                            const char *content_base, GError **error)
{
    struct cdonts_error reason;
    return done(cdonts_attach_url(self->mail, source, content_location, content_base, CDONTS_ENCODING_DEFAULT, &reason), &reason,
                error);
}

/**
 * cdonts_gobject_new_mail_attach_bytes:
 * @content: the bytes
 * @file_name: (nullable): the name shown
 * @content_id: (nullable): for a picture that the HTML shows as cid:
 */
gboolean cdonts_gobject_new_mail_attach_bytes(CdontsNewMail *self, GBytes *content, const char *file_name, const char *content_id,
                                              GError **error)
{
    struct cdonts_error reason;
    gsize size;
    const void *bytes = g_bytes_get_data(content, &size);
    return done(cdonts_attach_bytes(self->mail, bytes ? bytes : "", size, file_name, content_id, &reason), &reason, error);
}

/**
 * cdonts_gobject_new_mail_set_locale_ids:
 * @code_page: a Windows code page
 */
gboolean cdonts_gobject_new_mail_set_locale_ids(CdontsNewMail *self, int code_page, GError **error)
{
    struct cdonts_error reason;
    struct cdonts_value value = {.kind = CDONTS_NUMBER, .number = code_page};
    return done(cdonts_invoke(self->mail, cdonts_member_find(self->mail, "SetLocaleIDs"), CDONTS_CALL, &value, 1, NULL, &reason),
                &reason, error);
}

/**
 * cdonts_gobject_new_mail_send:
 *
 * Returns: (transfer full): the pickup file's name
 */
char *cdonts_gobject_new_mail_send(CdontsNewMail *self, GError **error)
{
    struct cdonts_error reason;
    if (!done(cdonts_send(self->mail, &reason), &reason, error))
        return NULL;
    char *name = cdonts_get_text(self->mail, "PickupName", NULL), *copy = g_strdup(name);
    cdonts_free(name);
    return copy;
}

/**
 * cdonts_gobject_new_mail_compose:
 *
 * Returns: (transfer full): what Send would write
 */
GBytes *cdonts_gobject_new_mail_compose(CdontsNewMail *self, GError **error)
{
    struct cdonts_error reason = {0};
    size_t size;
    char *bytes = cdonts_compose(self->mail, &size, &reason);
    if (!bytes) {
        (void)done(reason.code, &reason, error);
        return NULL;
    }
    return g_bytes_new_with_free_func(bytes, size, cdonts_free, bytes);
}

/* ---- the Session tree: one class for all its objects, by their members' names ---- */

struct _CdontsObject {
    GObject parent;
    struct cdonts_object *object;
};

G_DEFINE_FINAL_TYPE(CdontsObject, cdonts_gobject_object, G_TYPE_OBJECT)

static void object_finalize(GObject *object)
{
    cdonts_release(CDONTS_OBJECT(object)->object);
    G_OBJECT_CLASS(cdonts_gobject_object_parent_class)->finalize(object);
}

static void cdonts_gobject_object_class_init(CdontsObjectClass *class)
{
    G_OBJECT_CLASS(class)->finalize = object_finalize;
}

static void cdonts_gobject_object_init(CdontsObject *self)
{
    (void)self;
}

static CdontsObject *wrap(struct cdonts_object *taken_object)
{
    if (!taken_object)
        return NULL;
    CdontsObject *self = g_object_new(CDONTS_TYPE_OBJECT, NULL);
    self->object = taken_object;
    return self;
}

/**
 * cdonts_gobject_object_new_session: (constructor)
 *
 * Returns: (transfer full): a Session
 */
CdontsObject *cdonts_gobject_object_new_session(void)
{
    CdontsObject *self = wrap(cdonts_create("Session", NULL));
    if (!self)
        g_error("no memory for a Session");
    return self;
}

/**
 * cdonts_gobject_object_get_class_name:
 *
 * Returns: (transfer none): "Message" and so on
 */
const char *cdonts_gobject_object_get_class_name(CdontsObject *self)
{
    return cdonts_class_name(self->object);
}

static gboolean run(CdontsObject *self, const char *member, unsigned access, GVariant *arguments, struct cdonts_value *ret,
                    GError **error)
{
    struct cdonts_value values[8] = {0};
    struct cdonts_error reason = {0};
    gsize count = arguments ? g_variant_n_children(arguments) : 0;
    for (gsize i = 0; i < count && i < G_N_ELEMENTS(values); i++) {
        GVariant *child = g_variant_get_child_value(arguments, i);
        GVariant *plain = g_variant_is_of_type(child, G_VARIANT_TYPE_VARIANT) ? g_variant_get_variant(child) : g_variant_ref(child);
        if (g_variant_is_of_type(plain, G_VARIANT_TYPE_STRING)) {
            values[i].kind = CDONTS_STRING;
            values[i].text = g_variant_dup_string(plain, &values[i].size);
        } else if (g_variant_is_of_type(plain, G_VARIANT_TYPE_BYTESTRING)) {
            const void *bytes = g_variant_get_fixed_array(plain, &values[i].size, 1);
            values[i].kind = CDONTS_BYTES;
            values[i].text = g_memdup2(bytes, values[i].size);
        } else if (g_variant_is_of_type(plain, G_VARIANT_TYPE_INT32) || g_variant_is_of_type(plain, G_VARIANT_TYPE_INT64)) {
            values[i].kind = CDONTS_NUMBER;
            values[i].number = g_variant_is_of_type(plain, G_VARIANT_TYPE_INT32) ? g_variant_get_int32(plain) : g_variant_get_int64(plain);
        }
        g_variant_unref(plain);
        g_variant_unref(child);
    }
    int number = cdonts_member_find(self->object, member);
    gboolean is_done = done(cdonts_invoke(self->object, number, access, values, MIN(count, G_N_ELEMENTS(values)), ret, &reason),
                            &reason, error);
    for (gsize i = 0; i < G_N_ELEMENTS(values); i++)
        g_free(values[i].text);
    return is_done;
}

/**
 * cdonts_gobject_object_get_value:
 * @member: a property
 *
 * Returns: (transfer full): a string, a number (int64; times in milliseconds) or bytes
 */
GVariant *cdonts_gobject_object_get_value(CdontsObject *self, const char *member, GError **error)
{
    struct cdonts_value value = {0};
    if (!run(self, member, CDONTS_GET, NULL, &value, error))
        return NULL;
    GVariant *variant = value.kind == CDONTS_STRING  ? g_variant_new_string(value.text)
                        : value.kind == CDONTS_BYTES ? g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, value.text, value.size, 1)
                                                     : g_variant_new_int64(value.number);
    cdonts_value_clear(&value);
    return g_variant_ref_sink(variant);
}

/**
 * cdonts_gobject_object_put_value:
 * @member: a property
 * @value: a string, a number or bytes
 */
gboolean cdonts_gobject_object_put_value(CdontsObject *self, const char *member, GVariant *value, GError **error)
{
    GVariant *tuple = g_variant_ref_sink(g_variant_new_tuple(&value, 1));
    gboolean is_done = run(self, member, CDONTS_PUT, tuple, NULL, error);
    g_variant_unref(tuple);
    return is_done;
}

/**
 * cdonts_gobject_object_get_child:
 * @member: Inbox, Messages, Sender and so on
 *
 * Returns: (transfer full) (nullable): the object
 */
CdontsObject *cdonts_gobject_object_get_child(CdontsObject *self, const char *member, GError **error)
{
    struct cdonts_value value = {0};
    return run(self, member, CDONTS_GET | CDONTS_CALL, NULL, &value, error) ? wrap(value.object) : NULL;
}

/**
 * cdonts_gobject_object_call:
 * @member: a method
 * @arguments: (nullable): a tuple or array of them
 *
 * Returns: (transfer full) (nullable): the object that it gives, if it gives one
 */
CdontsObject *cdonts_gobject_object_call(CdontsObject *self, const char *member, GVariant *arguments, GError **error)
{
    struct cdonts_value value = {0};
    if (!run(self, member, CDONTS_CALL | CDONTS_GET, arguments, &value, error))
        return NULL;
    struct cdonts_object *object = value.object;
    value.object = NULL;
    cdonts_value_clear(&value);
    return wrap(object);
}

/**
 * cdonts_gobject_wait:
 * @pickup_name: what Send returned
 * @receipts_folder: (nullable): where the receipts are
 * @timeout_ms: how long
 *
 * Returns: TRUE once all recipients have the message
 */
gboolean cdonts_gobject_wait(const char *pickup_name, const char *receipts_folder, int timeout_ms, GError **error)
{
    struct cdonts_error reason;
    return done(cdonts_wait(pickup_name, receipts_folder, timeout_ms, &reason), &reason, error);
}
