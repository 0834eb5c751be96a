#include "config/metabase.h"

#include "base/buf.h"

#include <expat.h>
#include <stdlib.h>
#include <strings.h>

struct reading {
    XML_Parser parser;
    struct arena *arena;
    struct metabase *metabase;
    struct metabase_node *node;   /* the one we are in; NULL: none that is kept */
    size_t depth, node_depth;
    bool has_doctype;
};

static struct slice keep(struct arena *arena, const char *text)
{
    return arena_copy(arena, slice_trim(slice_of(text)));
}

static void add_property(struct reading *reading, const struct metabase_property *property)
{
    struct metabase_node *node = reading->node;
    if (node->count == node->capacity) {
        size_t capacity = node->capacity ? 2 * node->capacity : 16;
        node->properties = arena_grow(reading->arena, node->properties, node->count, capacity, sizeof *node->properties);
        node->capacity = capacity;
    }
    node->properties[node->count++] = *property;
}

static const char *attribute(const char **attributes, const char *name)
{
    for (size_t i = 0; attributes[i]; i += 2)
        if (strcmp(attributes[i], name) == 0)
            return attributes[i + 1];
    return NULL;
}

static bool is_ours(const char *location)
{
    static const char root[] = "/LM/SmtpSvc";
    size_t size = sizeof root - 1;
    return location && strncasecmp(location, root, size) == 0 && (location[size] == '\0' || location[size] == '/');
}

static void begin_node(struct reading *reading, const char *class, const char **attributes)
{
    struct metabase *metabase = reading->metabase;
    if (metabase->count == metabase->capacity) {
        size_t capacity = metabase->capacity ? 2 * metabase->capacity : 16;
        metabase->nodes = arena_grow(reading->arena, metabase->nodes, metabase->count, capacity, sizeof *metabase->nodes);
        metabase->capacity = capacity;
    }
    reading->node = &metabase->nodes[metabase->count++];
    *reading->node = (struct metabase_node){.class = keep(reading->arena, class),
                                            .location = keep(reading->arena, attribute(attributes, "Location"))};
    reading->node_depth = reading->depth;
    for (size_t i = 0; attributes[i]; i += 2) {
        struct metabase_property property = {.name = keep(reading->arena, attributes[i]),
                                             .value = keep(reading->arena, attributes[i + 1])};
        if (strcmp(attributes[i], "Location") != 0)
            add_property(reading, &property);
    }
}

static void add_custom(struct reading *reading, const char **attributes)
{
    const char *name = attribute(attributes, "Name"), *id = attribute(attributes, "ID"), *value = attribute(attributes, "Value");
    struct metabase_property property = {.name = keep(reading->arena, name ? name : ""),
                                         .id = id ? (unsigned)strtoul(id, NULL, 10) : 0,
                                         .value = keep(reading->arena, value ? value : "")};
    add_property(reading, &property);
}

static void XMLCALL on_start(void *arg, const char *name, const char **attributes)
{
    struct reading *reading = arg;
    reading->depth++;
    if (strcmp(name, "Custom") == 0) {
        if (reading->node)
            add_custom(reading, attributes);
    } else if (is_ours(attribute(attributes, "Location"))) {
        begin_node(reading, name, attributes);
    }
}

static void XMLCALL on_end(void *arg, const char *name)
{
    struct reading *reading = arg;
    (void)name;
    if (reading->node && reading->depth == reading->node_depth)
        reading->node = NULL;
    reading->depth--;
}

static void XMLCALL on_doctype(void *arg, const char *name, const char *system, const char *public, int has_internal)
{
    struct reading *reading = arg;
    (void)name;
    (void)system;
    (void)public;
    (void)has_internal;
    reading->has_doctype = true;
    (void)XML_StopParser(reading->parser, XML_FALSE);
}

bool metabase_parse(struct arena *arena, struct slice xml, struct metabase *ret_metabase, struct error *error)
{
    struct metabase metabase = {.nodes = NULL};
    struct reading reading = {.arena = arena, .metabase = &metabase, .parser = XML_ParserCreate(NULL)};
    if (!reading.parser || xml.size > METABASE_SIZE_MAX) {
        XML_ParserFree(reading.parser);
        return error_set(error, "a metabase of at most %d MB was expected", METABASE_SIZE_MAX >> 20);
    }
    XML_SetUserData(reading.parser, &reading);
    XML_SetElementHandler(reading.parser, on_start, on_end);
    XML_SetStartDoctypeDeclHandler(reading.parser, on_doctype);
    bool is_read = XML_Parse(reading.parser, xml.data, (int)xml.size, XML_TRUE) == XML_STATUS_OK;
    unsigned long line = XML_GetCurrentLineNumber(reading.parser);
    if (reading.has_doctype)
        is_read = error_set(error, "line %lu: a document type is refused", line);
    else if (!is_read)
        (void)error_set(error, "line %lu: %s", line, XML_ErrorString(XML_GetErrorCode(reading.parser)));
    XML_ParserFree(reading.parser);
    if (is_read && metabase.count == 0)
        return error_set(error, "nothing below /LM/SmtpSvc: a MetaBase.xml of a machine with the SMTP service was expected");
    *ret_metabase = metabase;
    return is_read;
}

const struct metabase_property *metabase_find(const struct metabase_node *node, const char *name, unsigned id)
{
    for (size_t i = 0; i < node->count; i++) {
        const struct metabase_property *property = &node->properties[i];
        if ((id && property->id == id) || slice_equals_nocase(property->name, slice_of(name)))
            return property;
    }
    return NULL;
}

/* ---- IP lists (B4) ---- */

enum { SLOTS = 4, HEAD_SIZE = 24, SECTION_SIZE = 28, IP_LIST_SIZE_MAX = 1 << 20 };

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool unhex(struct slice hex, struct buf *out)
{
    for (size_t i = 0; i + 1 < hex.size; i += 2) {
        int high = digit(hex.data[i]), low = digit(hex.data[i + 1]);
        if (high < 0 || low < 0)
            return false;
        buf_append_byte(out, (char)(high << 4 | low));
    }
    return hex.size % 2 == 0;
}

static uint32_t number_at(struct slice bytes, size_t at)
{
    const unsigned char *b = (const unsigned char *)bytes.data + at;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

/* Offsets carry the top bit. */
static size_t offset_at(struct slice bytes, size_t at)
{
    return number_at(bytes, at) & 0x7fffffff;
}

/* The length of a mask; -1: these four octets are none. */
static int mask_length(const unsigned char *octets)
{
    uint32_t mask = (uint32_t)octets[0] << 24 | (uint32_t)octets[1] << 16 | (uint32_t)octets[2] << 8 | octets[3];
    int length = 0;
    if (octets[0] != 255)
        return -1;
    while (length < 32 && (mask & (UINT32_C(1) << (31 - length))))
        length++;
    return length == 32 || (mask << length) == 0 ? length : -1;
}

static bool read_items(struct arena *arena, struct slice bytes, size_t section, struct metabase_ip_list *list)
{
    size_t count = number_at(bytes, section + 12), width = number_at(bytes, section + 16);
    size_t at = offset_at(bytes, section + 24);
    int length = -1;
    if (width != 4 || at > bytes.size || count > (bytes.size - at) / 4)
        return false;
    list->items = arena_alloc(arena, (count + 1) * sizeof *list->items);
    for (size_t i = 0; i < count; i++, at += 4) {
        const unsigned char *octets = (const unsigned char *)bytes.data + at;
        int mask = mask_length(octets);
        if (mask >= 0)
            length = mask;
        else if (length < 0)
            return false;
        else
            list->items[list->count++] =
                arena_printf(arena, "%u.%u.%u.%u/%d", octets[0], octets[1], octets[2], octets[3], length);
    }
    return true;
}

/* The sections of the first two slots hold who may not, and who may; those of the others names. */
static bool read_list(struct arena *arena, struct slice bytes, struct metabase_ip_list *list)
{
    if (bytes.size < HEAD_SIZE)
        return false;
    for (size_t slot = 0; slot < 2; slot++) {
        size_t section = offset_at(bytes, slot * 4), next = offset_at(bytes, slot * 4 + 4);
        if (section < HEAD_SIZE || next < section || next > bytes.size)
            return false;
        if (next - section < SECTION_SIZE || list->count)
            continue;
        list->is_denied = slot == 0;
        if (!read_items(arena, bytes, section, list))
            return false;
    }
    return true;
}

bool metabase_ip_list(struct arena *arena, struct slice hex, struct metabase_ip_list *ret_list, struct error *error)
{
    struct buf bytes = {0};
    struct metabase_ip_list list = {.items = NULL};
    bool is_read = hex.size <= IP_LIST_SIZE_MAX && unhex(hex, &bytes) && read_list(arena, buf_slice(&bytes), &list);
    buf_finish(&bytes);
    *ret_list = list;
    return is_read || error_set(error, "an IP list in a form that isn't known: enter it by hand");
}
