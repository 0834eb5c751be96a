#include "cli/import_report.h"

#include "base/ip.h"
#include "base/json.h"
#include "cli/command.h"
#include "message/address.h"
#include "os/file.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- the report ---- */

const char *import_verdict_name(enum import_verdict verdict)
{
    static const char *const names[] = {[IMPORT_TAKEN] = "taken", [IMPORT_NOT_NEEDED] = "not needed", [IMPORT_NOT_SUPPORTED] = "not supported"};
    return names[verdict];
}

const struct import_fate *import_fate_find(const struct import_fate *fates, size_t count, struct slice name)
{
    static const struct import_fate unknown = {"", IMPORT_NOT_SUPPORTED, "nothing here stands for it"};
    for (size_t i = 0; i < count; i++)
        if (slice_equals_nocase(name, slice_of(fates[i].name)))
            return &fates[i];
    return &unknown;
}

static void put_settings(struct buf *out, const struct import_setting *settings, size_t count, bool is_json)
{
    for (size_t i = 0; i < count; i++) {
        const struct import_setting *setting = &settings[i];
        if (is_json) {
            json_open(out, '{');
            json_put_text(out, "key", setting->name);
            json_put_number(out, "line", (int64_t)setting->line);
            json_put_text(out, "verdict", slice_of(import_verdict_name(setting->fate->verdict)));
            json_put_text(out, "here", slice_of(setting->fate->words));
            json_close(out, '}');
        } else {
            buf_printf(out, "#   %4zu  %-36.*s %-13s  %s\n", setting->line, SLICE_FMT(setting->name),
                       import_verdict_name(setting->fate->verdict), setting->fate->words);
        }
    }
}

void import_print(const struct buf *config, const struct import_setting *settings, size_t count, bool is_json)
{
    struct buf out = {0};
    if (is_json) {
        json_open(&out, '{');
        json_put_text(&out, "config", buf_slice(config));
        json_key(&out, "keys");
        json_open(&out, '[');
        put_settings(&out, settings, count, true);
        json_close(&out, ']');
        json_close(&out, '}');
        buf_append_byte(&out, '\n');
    } else {
        buf_append(&out, buf_slice(config));
        buf_append_text(&out, "\n# What became of each line:\n");
        put_settings(&out, settings, count, false);
    }
    (void)fwrite(out.data, 1, out.size, stdout);
    buf_finish(&out);
}

bool import_is_folder(const char *path)
{
    return path[0] == '/' && !strpbrk(path, "\"\\\n");
}

int import_arguments(int argc, char **argv, const char **ret_root, const char **ret_secrets, const char **ret_path)
{
    bool has_path = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--root") == 0 && i + 1 < argc && import_is_folder(argv[i + 1])) {
            *ret_root = argv[++i];
        } else if (ret_secrets && strcmp(argv[i], "--secrets") == 0 && i + 1 < argc && import_is_folder(argv[i + 1])) {
            *ret_secrets = argv[++i];
        } else if (!has_path && argv[i][0] != '-') {
            *ret_path = argv[i];
            has_path = true;
        } else {
            return command_fail(argv[0], EX_USAGE, "%s: not expected here; see --help", argv[i]);
        }
    }
    return EX_OK;
}

/* ---- users of smart hosts ---- */

static bool is_quotable(struct slice text)
{
    for (size_t i = 0; i < text.size; i++)
        if ((unsigned char)text.data[i] < 0x20 || text.data[i] == 0x7f || text.data[i] == '"')
            return false;
    return text.size > 0;
}

static bool write_secret(const struct import_login *login, struct slice name, struct error *error)
{
    struct buf text = {0};
    if (!file_make_folder(login->folder, 0700, error))
        return false;
    int fd = file_open_folder(login->folder, error);
    buf_append(&text, login->password);
    buf_append_byte(&text, '\n');
    bool is_done = fd >= 0 && file_publish(fd, name.data, buf_slice(&text), FILE_SYNC_PRIVATE, error) && file_sync_folder(fd, error);
    if (fd >= 0)
        close(fd);
    explicit_bzero(text.data, text.capacity);
    buf_finish(&text);
    return is_done;
}

static void put_quoted(struct buf *out, struct slice text)
{
    buf_append_byte(out, '"');
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '\\')
            buf_append_byte(out, '\\');
        buf_append_byte(out, text.data[i]);
    }
    buf_append_byte(out, '"');
}

void import_put_login(const struct import_login *login, struct buf *out, struct buf *remarks)
{
    struct buf name = {0};
    struct error error;
    for (const char *c = login->host; *c; c++) /* "[192.0.2.1]" */
        buf_append_byte(&name, strchr("[]/", *c) ? '_' : *c);
    buf_append_text(&name, ".password");
    bool has_password = is_quotable(login->password);
    (void)buf_text(&name);
    if (!is_quotable(login->user)) {
        buf_printf(remarks, "# %s wants a user whose name can't stand here: enter it anew.\n", login->host);
    } else if (!login->folder) {
        buf_printf(remarks, "# %s wants the user ", login->host);
        import_put_clean(remarks, login->user);
        buf_printf(remarks, has_password ? ": run this again with --secrets DIR, which takes the password over.\n"
                                         : ": set user and password_file; the password can't be read.\n");
    } else if (has_password && !write_secret(login, buf_slice(&name), &error)) {
        buf_printf(remarks, "# The password for %s could not be written: %s\n", login->host, error.text);
    } else {
        buf_append_text(out, " user = ");
        put_quoted(out, login->user);
        buf_printf(out, "; password_file = \"%s/%s\";", login->folder, buf_text(&name));
        if (!has_password)
            buf_printf(remarks, "# The password for %s can't be read: write it to %s/%s (mode 0600).\n", login->host, login->folder,
                       buf_text(&name));
    }
    buf_finish(&name);
}

bool import_read(struct arena *arena, const char *path, size_t size_max, struct slice *ret_text, struct error *error)
{
    struct buf text = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool is_read = fd >= 0 ? file_read(fd, size_max, &text, error) : error_set_errno(error, "open");
    *ret_text = arena_copy(arena, buf_slice(&text));
    if (fd >= 0)
        close(fd);
    buf_finish(&text);
    return is_read || error_prefix(error, "%s", path);
}

/* ---- texts ---- */

void import_put_clean(struct buf *out, struct slice text)
{
    for (size_t i = 0; i < text.size && i < 200; i++)
        buf_append_byte(out, (unsigned char)text.data[i] < 0x20 || text.data[i] == 0x7f ? ' ' : text.data[i]);
}

void import_remark(struct buf *out, const char *name, struct slice value, const char *words)
{
    buf_printf(out, "# %s = ", name);
    import_put_clean(out, value);
    buf_printf(out, ": %s\n", words);
}

struct slice import_cut_word(struct slice *rest)
{
    size_t end = 0;
    *rest = slice_trim(*rest);
    while (end < rest->size && !strchr(", \t\r\n", rest->data[end]))
        end++;
    struct slice word = slice_first(*rest, end);
    *rest = slice_from(*rest, end);
    while (rest->size && strchr(", \t\r\n", rest->data[0]))
        *rest = slice_from(*rest, 1);
    return word;
}

bool import_put_network(struct buf *list, struct slice word)
{
    struct slice prefix = word, address = slice_cut(&prefix, '/');
    uint64_t bits = 0;
    if (address.size > 2 && address.data[0] == '[' && address.data[address.size - 1] == ']')
        address = slice_make(address.data + 1, address.size - 2);
    bool is_v6 = slice_find_byte(address, ':') >= 0;
    if (!ip_is(address) || (prefix.size && (!slice_to_u64(prefix, &bits) || bits > (is_v6 ? 128 : 32))))
        return false;
    buf_printf(list, "%s\"%.*s", list->size ? ", " : "", SLICE_FMT(address));
    if (prefix.size)
        buf_printf(list, "/%llu", (unsigned long long)bits);
    buf_append_byte(list, '"');
    return true;
}

bool import_put_host(struct arena *arena, struct buf *out, struct slice text)
{
    struct slice host = text, port = SLICE_NONE, domain;
    struct error error;
    uint64_t number = 25;
    ptrdiff_t close = slice_find_byte(text, ']'), colon = slice_find_byte(text, ':');
    if (text.size && text.data[0] == '[' && close > 1) {
        host = slice_make(text.data + 1, (size_t)close - 1);
        port = slice_from(text, (size_t)close + 1);
        if (port.size && port.data[0] != ':')
            return false;
        port = port.size ? slice_from(port, 1) : port;
    } else if (colon >= 0) {
        host = slice_first(text, (size_t)colon);
        port = slice_from(text, (size_t)colon + 1);
    }
    if (slice_equals(port, SLICE("submission")))
        number = 587;
    else if (port.size && (!slice_to_u64(port, &number) || number == 0 || number > 65535))
        return false;
    if (ip_is(host))
        buf_printf(out, "\"[%.*s]:%llu\"", SLICE_FMT(host), (unsigned long long)number);
    else if (address_domain(arena, host, &domain, &error))
        buf_printf(out, "\"%.*s:%llu\"", SLICE_FMT(domain), (unsigned long long)number);
    else
        return false;
    return true;
}
