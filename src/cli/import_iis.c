/* mailroot import-iis MetaBase.xml: the SMTP service's settings as a config on stdout, what became of each key behind it as
 * comments, or with --json both as one object. */
#include "cli/command.h"
#include "cli/import_iis.h"

#include "base/json.h"
#include "os/file.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Values that may be secret are never shown. */
static bool is_secret(struct slice name)
{
    return slice_ends_nocase(name, SLICE("Password")) || slice_ends_nocase(name, SLICE("CertHash"))
           || slice_starts_nocase(name, SLICE("AdminACL"));
}

static void put_row(struct buf *out, const struct metabase_node *node, const struct metabase_property *property,
                    const struct import_key *key)
{
    enum import_verdict verdict = key ? key->verdict : IMPORT_NOT_SUPPORTED;
    struct slice name = property->name.size ? property->name : key ? slice_of(key->name) : SLICE("?");
    json_open(out, '{');
    json_put_text(out, "location", node->location);
    json_put_text(out, "key", name);
    if (property->id)
        json_put_number(out, "id", property->id);
    json_put_text(out, "value", is_secret(name) ? SLICE("(not shown)") : property->value);
    json_put_text(out, "verdict", slice_of(import_verdict_name(verdict)));
    json_put_text(out, "here", slice_of(key ? key->words : "a key that isn't known"));
    json_close(out, '}');
}

static void put_comment(struct buf *out, const struct metabase_property *property, const struct import_key *key)
{
    enum import_verdict verdict = key ? key->verdict : IMPORT_NOT_SUPPORTED;
    struct slice name = property->name.size ? property->name : key ? slice_of(key->name) : SLICE("?");
    buf_append_text(out, "#   ");
    for (size_t i = 0; i < name.size && i < 60; i++)
        buf_append_byte(out, (unsigned char)name.data[i] < 0x20 ? '?' : name.data[i]);
    buf_printf(out, "%*s  %-13s  %s\n", name.size < 34 ? (int)(34 - name.size) : 0, "", import_verdict_name(verdict),
               key ? key->words : "a key that isn't known");
}

static bool belongs(const struct import *import, const struct metabase_node *node)
{
    return node == import->service
           || (slice_starts_nocase(node->location, import->server->location)
               && (node->location.size == import->server->location.size
                   || node->location.data[import->server->location.size] == '/'));
}

static void put_table(const struct import *import, struct buf *out, bool is_json)
{
    for (size_t i = 0; i < import->metabase.count; i++) {
        const struct metabase_node *node = &import->metabase.nodes[i];
        if (!belongs(import, node) || node->count == 0)
            continue;
        if (!is_json) {
            buf_append_text(out, "# ");
            for (size_t k = 0; k < node->location.size; k++)
                buf_append_byte(out, (unsigned char)node->location.data[k] < 0x20 ? '?' : node->location.data[k]);
            buf_append_byte(out, '\n');
        }
        for (size_t k = 0; k < node->count; k++) {
            const struct import_key *key = import_key_find(&node->properties[k]);
            if (is_json)
                put_row(out, node, &node->properties[k], key);
            else
                put_comment(out, &node->properties[k], key);
        }
    }
}

static void print_import(struct import *import, bool is_json)
{
    struct buf out = {0}, config = {0};
    import_config(import, &config);
    if (is_json) {
        json_open(&out, '{');
        json_put_text(&out, "config", buf_slice(&config));
        json_key(&out, "keys");
        json_open(&out, '[');
        put_table(import, &out, true);
        json_close(&out, ']');
        json_close(&out, '}');
        buf_append_byte(&out, '\n');
    } else {
        buf_append(&out, buf_slice(&config));
        buf_append_text(&out, "\n# What became of each key:\n");
        put_table(import, &out, false);
    }
    (void)fwrite(out.data, 1, out.size, stdout);
    buf_finish(&config);
    buf_finish(&out);
}

/* The virtual server of that number; the first one for 0. */
static bool choose_server(struct import *import, const char *number, struct error *error)
{
    struct buf known = {0};
    struct slice prefix = SLICE("/LM/SmtpSvc/");
    for (size_t i = 0; i < import->metabase.count; i++) {
        const struct metabase_node *node = &import->metabase.nodes[i];
        if (slice_equals_nocase(node->location, SLICE("/LM/SmtpSvc")))
            import->service = node;
        if (!slice_equals_nocase(node->class, SLICE("IIsSmtpServer")) || node->location.size <= prefix.size)
            continue;
        struct slice name = slice_from(node->location, prefix.size);
        buf_printf(&known, " %.*s", SLICE_FMT(name));
        if (!import->server && (!number || slice_equals(name, slice_of(number))))
            import->server = node;
    }
    if (!import->server)
        (void)error_set(error, "no such virtual server; there are:%s", known.size ? buf_text(&known) : " none");
    buf_finish(&known);
    return import->server != NULL;
}

static bool read_metabase(struct import *import, const char *path, struct error *error)
{
    struct buf text = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool is_read = fd >= 0 ? file_read(fd, METABASE_SIZE_MAX, &text, error) : error_set_errno(error, "open");
    is_read = is_read && metabase_parse(&import->arena, buf_slice(&text), &import->metabase, error);
    if (fd >= 0)
        close(fd);
    buf_finish(&text);
    return is_read || error_prefix(error, "%s", path);
}

int command_import_iis(int argc, char **argv)
{
    struct command_options options;
    struct import import = {.root = NULL};
    struct error error;
    const char *number = NULL, *path = NULL;
    command_parse(&argc, argv, &options);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--server") == 0 && i + 1 < argc)
            number = argv[++i];
        else if (strcmp(argv[i], "--root") == 0 && i + 1 < argc && import_is_folder(argv[i + 1]))
            import.root = argv[++i];
        else if (strcmp(argv[i], "--secrets") == 0 && i + 1 < argc && import_is_folder(argv[i + 1]))
            import.secrets = argv[++i];
        else if (!path && argv[i][0] != '-')
            path = argv[i];
        else
            return command_fail("import-iis", EX_USAGE, "%s: not expected here; see --help", argv[i]);
    }
    if (!path)
        return command_fail("import-iis", EX_USAGE, "a MetaBase.xml was expected");
    int code = EX_OK;
    if (!read_metabase(&import, path, &error) || !choose_server(&import, number, &error))
        code = command_fail("import-iis", EX_DATAERR, "%s", error.text);
    else
        print_import(&import, options.is_json);
    arena_finish(&import.arena);
    return code;
}
