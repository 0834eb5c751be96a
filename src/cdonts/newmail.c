/* NewMail: a message that is set up property by property and dies with Send. */
#include "cdonts/state.h"
#include "cdonts/system.h"
#include "base/utf8.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { FILE_SIZE_MAX = 1 << 30 };

struct newmail {
    struct cdonts_object object;
    struct outgoing outgoing;
    char *body;
    int body_format, mail_format;
    bool is_format_set;
    bool is_sent;
    struct cdonts_error fault; /* N5: what a setter refused */
    char pickup_name[PICKUP_WRITER_NAME_SIZE];
};

enum tag { /* of the members that change it; the properties come first */
    TAG_TO, TAG_CC, TAG_BCC, TAG_FROM, TAG_SUBJECT, TAG_BODY, TAG_CONTENT_LOCATION, TAG_CONTENT_BASE, TAG_PLAIN, TAG_HTML,
    TAG_CALENDAR, TAG_CALENDAR_METHOD, TAG_PICKUP_FOLDER, TAG_IMPORTANCE, TAG_BODY_FORMAT, TAG_MAIL_FORMAT, TAG_DELIVER_AT,
    PROPERTY_COUNT,
    TAG_VALUE = PROPERTY_COUNT, TAG_UNSUBSCRIBE, TAG_LOCALE_IDS, TAG_ATTACH_FILE, TAG_ATTACH_URL, TAG_ATTACH_INLINE,
};

static struct newmail *newmail_of(struct cdonts_object *object)
{
    CHECK(object->class == &class_newmail);
    return (struct newmail *)object;
}

struct cdonts_object *newmail_create(void)
{
    struct newmail *mail = object_create(sizeof *mail, &class_newmail, NULL);
    if (!mail)
        return NULL;
    mail->body_format = CDONTS_BODY_TEXT;
    mail->mail_format = CDONTS_TEXT;
    mail->outgoing.importance = CDONTS_NORMAL;
    return &mail->object;
}

static void destroy(struct cdonts_object *object)
{
    struct newmail *mail = newmail_of(object);
    outgoing_finish(&mail->outgoing);
    free(mail->body);
    free(mail);
}

static uint32_t check_alive(struct newmail *mail, struct call *call)
{
    return mail->is_sent ? call_fail(call, CDONTS_E_INVALID_OBJECT, "the message was sent: a new object is needed")
                         : CDONTS_OK;
}

/* N5. */
static uint32_t remember(struct newmail *mail, struct call *call, uint32_t code)
{
    if (code != CDONTS_OK && mail->fault.code == CDONTS_OK) {
        if (call->error)
            mail->fault = *call->error;
        mail->fault.code = code;
    }
    return code;
}

/* ---- properties ---- */

enum property_kind {
    PROPERTY_LIST,   /* addresses; each assignment adds to them */
    PROPERTY_LINE,   /* goes into the header */
    PROPERTY_SENDER, /* the same, one address */
    PROPERTY_TEXT,   /* any UTF-8 */
    PROPERTY_NUMBER, /* 0 to `most` */
    PROPERTY_TIME,
};

#define AT(field) offsetof(struct newmail, field)

static const struct { size_t offset; enum property_kind kind; int most; } properties[PROPERTY_COUNT] = {
    [TAG_TO] = {AT(outgoing.to), PROPERTY_LIST, 0},
    [TAG_CC] = {AT(outgoing.cc), PROPERTY_LIST, 0},
    [TAG_BCC] = {AT(outgoing.bcc), PROPERTY_LIST, 0},
    [TAG_FROM] = {AT(outgoing.from), PROPERTY_SENDER, 0},
    [TAG_SUBJECT] = {AT(outgoing.subject), PROPERTY_LINE, 0},
    [TAG_BODY] = {AT(body), PROPERTY_TEXT, 0},
    [TAG_CONTENT_LOCATION] = {AT(outgoing.location), PROPERTY_LINE, 0},
    [TAG_CONTENT_BASE] = {AT(outgoing.base), PROPERTY_LINE, 0},
    [TAG_PLAIN] = {AT(outgoing.plain), PROPERTY_TEXT, 0},
    [TAG_HTML] = {AT(outgoing.html), PROPERTY_TEXT, 0},
    [TAG_CALENDAR] = {AT(outgoing.calendar), PROPERTY_TEXT, 0},
    [TAG_CALENDAR_METHOD] = {AT(outgoing.calendar_method), PROPERTY_LINE, 0},
    [TAG_PICKUP_FOLDER] = {AT(outgoing.pickup), PROPERTY_TEXT, 0},
    [TAG_IMPORTANCE] = {AT(outgoing.importance), PROPERTY_NUMBER, CDONTS_HIGH},
    [TAG_BODY_FORMAT] = {AT(body_format), PROPERTY_NUMBER, CDONTS_BODY_TEXT},
    [TAG_MAIL_FORMAT] = {AT(mail_format), PROPERTY_NUMBER, CDONTS_TEXT},
    [TAG_DELIVER_AT] = {AT(outgoing.deliver_at_ms), PROPERTY_TIME, 0},
};

/* To, Cc and Bcc add to the list. */
static bool join(char **place, char *taken_text)
{
    size_t size = *place ? strlen(*place) : 0;
    bool is_blank = slice_trim(slice_of(taken_text)).size == 0;
    if (size && !is_blank) {
        char *joined = malloc(size + strlen(taken_text) + 3);
        if (joined)
            (void)sprintf(joined, "%s; %s", *place, taken_text);
        free(taken_text);
        taken_text = joined;
    } else if (size) {
        free(taken_text);
        return true;
    }
    if (!taken_text)
        return false;
    free(*place);
    *place = taken_text;
    return true;
}

static uint32_t set_text(struct newmail *mail, struct call *call, int tag, size_t index)
{
    enum property_kind kind = properties[tag].kind;
    char *text, **place = (char **)((char *)mail + properties[tag].offset);
    if (!call_text(call, index, &text))
        return call->error ? call->error->code : CDONTS_E_INVALID_PARAMETER;
    if (!text)
        return CDONTS_OK;
    bool is_good = kind == PROPERTY_TEXT ? utf8_is_valid(slice_of(text)) : compose_is_clean(slice_of(text));
    if (!is_good) {
        free(text);
        return call_fail(call, CDONTS_E_INVALID_PARAMETER, "a control character, or no well-formed UTF-8");
    }
    if (kind == PROPERTY_SENDER && slice_find_byte(slice_of(text), ';') >= 0) {
        free(text);
        return call_fail(call, CDONTS_E_INVALID_PARAMETER, "From: a semicolon; several senders are not permitted");
    }
    if (kind == PROPERTY_LIST)
        return join(place, text) ? CDONTS_OK : call_fail(call, CDONTS_E_NOT_ENOUGH_MEMORY, "out of memory");
    free(*place);
    *place = text;
    return CDONTS_OK;
}

static uint32_t set_number(struct newmail *mail, struct call *call, int tag, size_t index)
{
    int64_t number = 0;
    int most = properties[tag].most, *place = (int *)((char *)mail + properties[tag].offset);
    if (!call_number(call, index, 0, &number))
        return CDONTS_E_INVALID_PARAMETER;
    if (number < 0 || number > most)
        return call_fail(call, CDONTS_E_INVALID_PARAMETER, "%s was expected", most == 2 ? "0, 1 or 2" : "0 or 1");
    *place = (int)number;
    return CDONTS_OK;
}

static uint32_t set_time(struct newmail *mail, struct call *call, int tag, size_t index)
{
    int64_t number = 0, *place = (int64_t *)((char *)mail + properties[tag].offset);
    if (!call_number(call, index, 0, &number))
        return CDONTS_E_INVALID_PARAMETER;
    if (number < 0 || number > INT64_C(253402300799))
        return call_fail(call, CDONTS_E_INVALID_PARAMETER, "DeliverAt: seconds of Unix time were expected");
    *place = call->arguments[index].kind == CDONTS_TIME ? number : number * 1000;
    return CDONTS_OK;
}

static uint32_t set_property(struct newmail *mail, struct call *call, int tag, size_t index)
{
    enum property_kind kind = properties[tag].kind;
    return kind == PROPERTY_NUMBER ? set_number(mail, call, tag, index)
           : kind == PROPERTY_TIME ? set_time(mail, call, tag, index) : set_text(mail, call, tag, index);
}

/* Windows code pages that MIME has a charset for. Strings are Unicode here: the message is UTF-8 whatever is chosen. */
static uint32_t set_locale_ids(struct newmail *mail, struct call *call)
{
    static const int pages[] = {437, 850, 852, 855, 857, 860, 861, 862, 863, 864, 865, 866, 869, 874, 932, 936, 949, 950, 1200,
                                1250, 1251, 1252, 1253, 1254, 1255, 1256, 1257, 1258, 20127, 20866, 21866, 28591, 28592,
                                28593, 28594, 28595, 28596, 28597, 28598, 28599, 28603, 28605, 50220, 50221, 50222, 50225,
                                51932, 51949, 52936, 54936, 65000, 65001};
    int64_t page;
    if (!call_number(call, 0, 0, &page))
        return CDONTS_E_INVALID_PARAMETER;
    (void)mail;
    for (size_t i = 0; i < COUNT_OF(pages); i++)
        if (pages[i] == page)
            return CDONTS_OK;
    return call_fail(call, CDONTS_E_INVALID_PARAMETER, "no code page %lld", (long long)page);
}

/* ---- Value(header) ---- */

static bool is_header_name(const char *name)
{
    for (const char *c = name; *c; c++)
        if (!((*c >= '0' && *c <= '9') || ((*c | 0x20) >= 'a' && (*c | 0x20) <= 'z') || *c == '-' || *c == '/' || *c == '_'
              || *c == '.'))
            return false;
    return *name != '\0';
}

static uint32_t set_value(struct newmail *mail, struct call *call)
{
    static const struct { const char *name; int tag; } own[] = {
        {"To", TAG_TO}, {"Cc", TAG_CC}, {"Bcc", TAG_BCC}, {"From", TAG_FROM}, {"Subject", TAG_SUBJECT},
        {"Content-Base", TAG_CONTENT_BASE}, {"Content-Location", TAG_CONTENT_LOCATION}};
    uint32_t code = CDONTS_OK;
    char *name = NULL, *value = NULL;
    if (!call_text(call, 0, &name) || !call_text(call, 1, &value))
        code = CDONTS_E_INVALID_PARAMETER;
    else if (!name || !is_header_name(name))
        code = call_fail(call, CDONTS_E_INVALID_PARAMETER, "Value: a header's name was expected");
    for (size_t i = 0; code == CDONTS_OK && i < COUNT_OF(own); i++) {
        if (strcasecmp(own[i].name, name) != 0)
            continue;
        free(name);
        free(value);
        return set_property(mail, call, own[i].tag, 1);
    }
    if (code == CDONTS_OK && !compose_is_field_name(slice_of(name)))
        code = call_fail(call, CDONTS_E_INVALID_PARAMETER, "Value(\"%s\"): the message's own structure", name);
    else if (code == CDONTS_OK && !compose_is_clean(slice_of(value ? value : "")))
        code = call_fail(call, CDONTS_E_INVALID_PARAMETER, "Value(\"%s\"): a control character, or no UTF-8", name);
    if (code != CDONTS_OK || !value) {
        free(name);
        free(value);
        return code;
    }
    return outgoing_add_field(&mail->outgoing, name, value) ? CDONTS_OK
                                                             : call_fail(call, CDONTS_E_NOT_ENOUGH_MEMORY, "out of memory");
}

/* RFC 2369 and 8058: the second field only for https, where a POST without a question is possible. */
static uint32_t set_unsubscribe(struct newmail *mail, struct call *call)
{
    char *url = NULL, *value = NULL;
    if (!call_text(call, 0, &url) || !url)
        return call_fail(call, CDONTS_E_INVALID_PARAMETER, "Unsubscribe: a URL was expected");
    bool is_https = strncasecmp(url, "https://", 8) == 0;
    bool is_good = (is_https || strncasecmp(url, "mailto:", 7) == 0) && strlen(url) < 900;
    for (const char *c = url; *c; c++)
        is_good = is_good && *c > 0x20 && *c < 0x7f && *c != '<' && *c != '>';
    size_t size = strlen(url) + 3;
    if (is_good && (value = malloc(size)))
        (void)snprintf(value, size, "<%s>", url);
    free(url);
    if (!is_good)
        return call_fail(call, CDONTS_E_INVALID_PARAMETER, "Unsubscribe: https:// or mailto: was expected");
    bool is_done = outgoing_add_field(&mail->outgoing, strdup("List-Unsubscribe"), value)
                   && (!is_https || outgoing_add_field(&mail->outgoing, strdup("List-Unsubscribe-Post"),
                                                       strdup("List-Unsubscribe=One-Click")));
    return is_done ? CDONTS_OK : call_fail(call, CDONTS_E_NOT_ENOUGH_MEMORY, "out of memory");
}

/* ---- attachments ---- */

static const char *base_name(const char *path)
{
    const char *base = path;
    for (const char *c = path; *c; c++)
        if (*c == '/' || (system_separator() == '\\' && (*c == '\\' || *c == ':')))
            base = c + 1;
    return base;
}

/* Source is a path, or bytes themselves. */
static uint32_t read_source(struct call *call, struct outgoing_file *file)
{
    const struct cdonts_value *source = &call->arguments[0];
    struct error reason = {0};
    struct buf bytes = {0};
    char *path = NULL;
    if (source->kind == CDONTS_BYTES) {
        file->bytes = malloc(source->size + 1);
        if (!file->bytes)
            return call_fail(call, CDONTS_E_NOT_ENOUGH_MEMORY, "out of memory");
        if (source->size)
            memcpy(file->bytes, source->text, source->size);
        file->size = source->size;
        return CDONTS_OK;
    }
    if (!call_text(call, 0, &path) || !path)
        return call_fail(call, CDONTS_E_INVALID_PARAMETER, "Source: a file's path was expected");
    if (!system_read(path, FILE_SIZE_MAX, &bytes, &reason)) {
        free(path);
        buf_finish(&bytes);
        return call_fail(call, CDONTS_E_NOT_FOUND, "%s", reason.text);
    }
    if (!file->name)
        file->name = strdup(base_name(path));
    free(path);
    file->size = bytes.size;
    file->bytes = buf_take(&bytes);
    return CDONTS_OK;
}

/* The file is taken over. `code`: what reading its arguments gave. */
static uint32_t attach(struct newmail *mail, struct call *call, struct outgoing_file *file, uint32_t code)
{
    const char *texts[] = {file->name, file->location, file->base};
    if (code == CDONTS_OK)
        code = read_source(call, file);
    for (size_t i = 0; code == CDONTS_OK && i < COUNT_OF(texts); i++)
        if (texts[i] && !compose_is_clean(slice_of(texts[i])))
            code = call_fail(call, CDONTS_E_INVALID_PARAMETER, "a control character, or no UTF-8, in a name");
    if (code != CDONTS_OK) {
        outgoing_file_finish(file);
        return code;
    }
    return outgoing_add_file(&mail->outgoing, file) ? CDONTS_OK
                                                    : call_fail(call, CDONTS_E_NOT_ENOUGH_MEMORY, "out of memory");
}

/* A base64 attachment makes the mail MIME. */
static uint32_t attach_file(struct newmail *mail, struct call *call)
{
    struct outgoing_file file = {.kind = COMPOSE_ATTACHED};
    int64_t encoding = CDONTS_ENCODING_DEFAULT;
    uint32_t code = CDONTS_OK;
    if (!call_text(call, 1, &file.name) || !call_number(call, 2, CDONTS_ENCODING_DEFAULT, &encoding))
        code = CDONTS_E_INVALID_PARAMETER;
    else if (encoding < CDONTS_ENCODING_DEFAULT || encoding > CDONTS_BASE64)
        code = call_fail(call, CDONTS_E_INVALID_PARAMETER, "EncodingMethod: 0 or 1 was expected");
    if (encoding == CDONTS_UUENCODE || (encoding == CDONTS_ENCODING_DEFAULT && mail->mail_format == CDONTS_TEXT))
        file.kind = COMPOSE_UUENCODED;
    code = attach(mail, call, &file, code);
    if (code == CDONTS_OK && encoding == CDONTS_BASE64)
        mail->mail_format = CDONTS_MIME;
    return code;
}

/* A file that HTML shows: AttachURL(Source, ContentLocation [, ContentBase …]), AttachInline(Source, ContentID [, FileName]). */
static uint32_t attach_shown(struct newmail *mail, struct call *call, struct outgoing_file *file, char **needed, char **more, const char *name)
{
    uint32_t code = CDONTS_OK;
    if (!call_text(call, 1, needed) || !call_text(call, 2, more))
        code = CDONTS_E_INVALID_PARAMETER;
    else if (!*needed || !**needed)
        code = call_fail(call, CDONTS_E_INVALID_PARAMETER, "%s was expected", name);
    code = attach(mail, call, file, code);
    if (code == CDONTS_OK)
        mail->mail_format = CDONTS_MIME;
    return code;
}

static uint32_t attach_url(struct newmail *mail, struct call *call)
{
    struct outgoing_file file = {.kind = COMPOSE_INLINE};
    return attach_shown(mail, call, &file, &file.location, &file.base, "ContentLocation");
}

static uint32_t attach_inline(struct newmail *mail, struct call *call)
{
    struct outgoing_file file = {.kind = COMPOSE_INLINE};
    return attach_shown(mail, call, &file, &file.id, &file.name, "ContentID");
}

/* Every member that changes the mail: not after Send, and what is refused is remembered (N5). */
static uint32_t change(struct cdonts_object *object, struct call *call)
{
    static uint32_t (*const changes[])(struct newmail *mail, struct call *call) = {
        [TAG_VALUE] = set_value, [TAG_UNSUBSCRIBE] = set_unsubscribe, [TAG_LOCALE_IDS] = set_locale_ids,
        [TAG_ATTACH_FILE] = attach_file, [TAG_ATTACH_URL] = attach_url, [TAG_ATTACH_INLINE] = attach_inline};
    struct newmail *mail = newmail_of(object);
    uint32_t code = check_alive(mail, call);
    if (code != CDONTS_OK)
        return code;
    return remember(mail, call, call->tag < PROPERTY_COUNT ? set_property(mail, call, call->tag, 0) : changes[call->tag](mail, call));
}

/* ---- Send ---- */

/* The body and its files as the formats say. uuencoded files need a message of plain text alone. */
static struct outgoing arranged(const struct newmail *mail)
{
    struct outgoing outgoing = mail->outgoing;
    char **place = mail->body_format == CDONTS_BODY_HTML ? &outgoing.html : &outgoing.plain;
    if (mail->body)
        *place = mail->body;
    bool is_mime = mail->mail_format == CDONTS_MIME || outgoing.html || outgoing.calendar;
    for (size_t i = 0; i < outgoing.file_count; i++) {
        if (is_mime && outgoing.files[i].kind == COMPOSE_UUENCODED)
            outgoing.files[i].kind = COMPOSE_ATTACHED;
    }
    return outgoing;
}

static uint32_t compose_or_send(struct newmail *mail, enum outgoing_way way, struct buf *out, struct cdonts_error *error)
{
    if (mail->fault.code != CDONTS_OK) {
        if (error)
            *error = mail->fault;
        return mail->fault.code;
    }
    struct outgoing outgoing = arranged(mail);
    return outgoing_submit(&outgoing, way, out, mail->pickup_name, error);
}

static uint32_t send(struct cdonts_object *object, struct call *call)
{
    static const int tags[] = {TAG_FROM, TAG_TO, TAG_SUBJECT, TAG_BODY};
    struct newmail *mail = newmail_of(object);
    struct buf message = {0};
    uint32_t code = check_alive(mail, call);
    if (code != CDONTS_OK)
        return code;
    for (size_t i = 0; i < COUNT_OF(tags) && code == CDONTS_OK; i++)
        code = set_property(mail, call, tags[i], i);
    if (code == CDONTS_OK && call_has(call, 4))
        code = set_property(mail, call, TAG_IMPORTANCE, 4);
    if (code == CDONTS_OK)
        code = compose_or_send(mail, OUTGOING_SEND, &message, call->error);
    mail->is_sent = code == CDONTS_OK;
    buf_finish(&message);
    return code;
}

char *cdonts_compose(struct cdonts_object *object, size_t *ret_size, struct cdonts_error *error)
{
    struct buf message = {0};
    if (object->class != &class_newmail || newmail_of(object)->is_sent) {
        (void)error_fill(error, CDONTS_E_INVALID_OBJECT, "a NewMail that isn't sent was expected");
        return NULL;
    }
    if (compose_or_send(newmail_of(object), OUTGOING_COMPOSE, &message, error) != CDONTS_OK) {
        buf_finish(&message);
        return NULL;
    }
    *ret_size = message.size;
    return buf_take(&message);
}

static uint32_t get_text(struct cdonts_object *object, struct call *call)
{
    struct newmail *mail = newmail_of(object);
    return call_give_text(call, call->tag == 0 ? "1.2" : mail->pickup_name);
}

static const struct member members[] = {
    {"Value", CDONTS_PUT, 1, 1, change, TAG_VALUE},
    {"To", CDONTS_PUT, 0, 0, change, TAG_TO},
    {"Cc", CDONTS_PUT, 0, 0, change, TAG_CC},
    {"Bcc", CDONTS_PUT, 0, 0, change, TAG_BCC},
    {"Body", CDONTS_PUT, 0, 0, change, TAG_BODY},
    {"Importance", CDONTS_PUT, 0, 0, change, TAG_IMPORTANCE},
    {"BodyFormat", CDONTS_PUT, 0, 0, change, TAG_BODY_FORMAT},
    {"MailFormat", CDONTS_PUT, 0, 0, change, TAG_MAIL_FORMAT},
    {"Subject", CDONTS_PUT, 0, 0, change, TAG_SUBJECT},
    {"From", CDONTS_PUT, 0, 0, change, TAG_FROM},
    {"Send", CDONTS_CALL, 0, 5, send, 0},
    {"AttachFile", CDONTS_CALL, 1, 3, change, TAG_ATTACH_FILE},
    {"AttachURL", CDONTS_CALL, 2, 4, change, TAG_ATTACH_URL},
    {"SetLocaleIDs", CDONTS_CALL, 1, 1, change, TAG_LOCALE_IDS},
    {"ContentLocation", CDONTS_PUT, 0, 0, change, TAG_CONTENT_LOCATION},
    {"ContentBase", CDONTS_PUT, 0, 0, change, TAG_CONTENT_BASE},
    {"Version", CDONTS_GET, 0, 0, get_text, 0},
    /* of today */
    {"TextBody", CDONTS_PUT, 0, 0, change, TAG_PLAIN},
    {"HTMLBody", CDONTS_PUT, 0, 0, change, TAG_HTML},
    {"Calendar", CDONTS_PUT, 0, 0, change, TAG_CALENDAR},
    {"CalendarMethod", CDONTS_PUT, 0, 0, change, TAG_CALENDAR_METHOD},
    {"AttachInline", CDONTS_CALL, 2, 3, change, TAG_ATTACH_INLINE},
    {"Unsubscribe", CDONTS_PUT, 0, 0, change, TAG_UNSUBSCRIBE},
    {"DeliverAt", CDONTS_PUT, 0, 0, change, TAG_DELIVER_AT},
    {"PickupFolder", CDONTS_PUT, 0, 0, change, TAG_PICKUP_FOLDER},
    {"PickupName", CDONTS_GET, 0, 0, get_text, 1},
    {0},
};

const struct class class_newmail = {"NewMail", members, 0, destroy};
