/* Cdonts-1.0: libcdonts as GObject classes, for every language that reads introspection data. Members keep CDONTS's meaning;
 * cdonts(3) lists them. Errors are GErrors (domain cdonts-error-quark) with CDONTS's code. */
#ifndef CDONTS_GOBJECT_H
#define CDONTS_GOBJECT_H

#include <gio/gio.h>

G_BEGIN_DECLS

#define CDONTS_TYPE_NEW_MAIL (cdonts_gobject_new_mail_get_type())
G_DECLARE_FINAL_TYPE(CdontsNewMail, cdonts_gobject_new_mail, CDONTS, NEW_MAIL, GObject)
#define CDONTS_TYPE_OBJECT (cdonts_gobject_object_get_type())
G_DECLARE_FINAL_TYPE(CdontsObject, cdonts_gobject_object, CDONTS, OBJECT, GObject)

CdontsNewMail *cdonts_gobject_new_mail_new(void);
gboolean cdonts_gobject_new_mail_set_header(CdontsNewMail *self, const char *header, const char *value, GError **error);
gboolean cdonts_gobject_new_mail_attach_file(CdontsNewMail *self, const char *source, const char *file_name, int encoding_method,
                                             GError **error);
gboolean cdonts_gobject_new_mail_attach_url(CdontsNewMail *self, const char *source, const char *content_location,
                                            const char *content_base, GError **error);
gboolean cdonts_gobject_new_mail_attach_bytes(CdontsNewMail *self, GBytes *content, const char *file_name, const char *content_id,
                                              GError **error);
gboolean cdonts_gobject_new_mail_set_locale_ids(CdontsNewMail *self, int code_page, GError **error);
char *cdonts_gobject_new_mail_send(CdontsNewMail *self, GError **error);
GBytes *cdonts_gobject_new_mail_compose(CdontsNewMail *self, GError **error);

CdontsObject *cdonts_gobject_object_new_session(void);
const char *cdonts_gobject_object_get_class_name(CdontsObject *self);
GVariant *cdonts_gobject_object_get_value(CdontsObject *self, const char *member, GError **error);
gboolean cdonts_gobject_object_put_value(CdontsObject *self, const char *member, GVariant *value, GError **error);
CdontsObject *cdonts_gobject_object_get_child(CdontsObject *self, const char *member, GError **error);
CdontsObject *cdonts_gobject_object_call(CdontsObject *self, const char *member, GVariant *arguments, GError **error);

gboolean cdonts_gobject_wait(const char *pickup_name, const char *receipts_folder, int timeout_ms, GError **error);

G_END_DECLS

#endif
