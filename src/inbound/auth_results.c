#include "inbound/auth_results.h"

#include <arpa/inet.h>

/* ---- whose a field is ---- */

/* Comments, nested and with quoted pairs, and blanks (RFC 5322 3.2.2). */
static struct slice skip_comments(struct slice text)
{
    int depth = 0;
    size_t at = 0;
    for (; at < text.size; at++) {
        char c = text.data[at];
        if (c == '(')
            depth++;
        else if (c == ')' && depth)
            depth--;
        else if (c == '\\' && depth)
            at++;
        else if (!depth && c != ' ' && c != '\t' && c != '\r' && c != '\n')
            break;
    }
    return slice_from(text, at < text.size ? at : text.size);
}

bool auth_results_is_of(struct slice value, const char *host)
{
    struct slice text = skip_comments(value), name = slice_of(host);
    bool is_quoted = text.size && text.data[0] == '"';
    if (is_quoted)
        text = slice_from(text, 1);
    if (text.size < name.size || !slice_equals_nocase(slice_first(text, name.size), name))
        return false;
    text = slice_from(text, name.size);
    return text.size == 0 || strchr(is_quoted ? "\"" : " \t\r\n;(/", text.data[0]) != NULL;
}

static bool is_claim(const struct header_field *field, const char *host)
{
    return slice_equals_nocase(field->name, SLICE("Authentication-Results")) && auth_results_is_of(field->value, host);
}

bool auth_results_strip(const struct header *header, struct slice message, const char *host, struct buf *out)
{
    size_t from = 0;
    for (size_t i = 0; i < header->count; i++) {
        const struct header_field *field = &header->fields[i];
        if (!is_claim(field, host))
            continue;
        size_t start = (size_t)(field->raw.data - message.data);
        buf_append(out, slice_make(message.data + from, start - from));
        from = start + field->raw.size;
    }
    if (from == 0)
        return false;
    buf_append(out, slice_from(message, from));
    return true;
}

/* ---- ours ---- */

static bool is_plain(struct slice text)
{
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i], lower = (char)(c | 32);
        if (!((lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || (c && strchr("!#$%&'*+-./=?^_`{|}~@:", c))))
            return false;
    }
    return text.size > 0 && text.size <= 320;
}

/* U2 */
static void put_property(struct buf *out, const char *name, struct slice value)
{
    if (is_plain(value))
        buf_printf(out, " %s=%.*s", name, SLICE_FMT(value));
}

static void put_method(struct buf *out, const char *method, const char *result, const char *reason)
{
    buf_printf(out, ";\r\n\t%s=%s", method, result);
    if (reason)
        buf_printf(out, " (%s)", reason);
}

static void put_iprev(const struct checks *checks, struct buf *out)
{
    char text[INET6_ADDRSTRLEN];
    const struct in6_addr *client = &checks->subject.client;
    bool is_v4 = IN6_IS_ADDR_V4MAPPED(client);
    put_method(out, "iprev", iprev_result_name(checks->iprev), NULL);
    if (is_plain(checks->client_name))
        buf_printf(out, " (%.*s)", SLICE_FMT(checks->client_name));
    (void)inet_ntop(is_v4 ? AF_INET : AF_INET6, is_v4 ? (const void *)&client->s6_addr[12] : client, text, sizeof text);
    buf_printf(out, is_v4 ? " policy.iprev=%s" : " policy.iprev=\"%s\"", text); /* a token has no colon */
}

static void put_spf(const struct checks *checks, struct buf *out)
{
    put_method(out, "spf", spf_result_name(checks->spf.result), checks->spf.reason);
    if (checks->is_spf_of_helo)
        put_property(out, "smtp.helo", checks->spf_domain);
    else
        put_property(out, "smtp.mailfrom", is_plain(checks->subject.sender) ? checks->subject.sender : checks->spf_domain);
}

static void put_signature(const struct dkim_signature *signature, struct buf *out)
{
    bool is_partial = signature->result == DKIM_PASS && signature->is_partial;
    const char *reason = is_partial ? "l= leaves a part of the body unsigned" : signature->reason;
    if (signature->is_testing && !reason)
        reason = "the key is marked as a test";
    put_method(out, "dkim", is_partial ? "policy" : dkim_result_name(signature->result), reason);
    put_property(out, "header.d", signature->domain);
    put_property(out, "header.s", signature->selector);
    if (signature->bytes.size) {
        put_property(out, "header.a", signature->is_rsa ? SLICE("rsa-sha256") : SLICE("ed25519-sha256"));
        /* The first 8 octets tell signatures of one domain apart (RFC 6008); base64 needs quotes. */
        buf_printf(out, " header.b=\"%.*s\"", (int)(signature->bytes_text.size < 8 ? signature->bytes_text.size : 8),
                   signature->bytes_text.data);
    }
}

static void put_arc(const struct checks *checks, struct buf *out)
{
    const char *reason;
    enum dkim_result result = arc_result(&checks->arc, &reason);
    put_method(out, "arc", dkim_result_name(result), reason);
    if (result == DKIM_PASS)
        put_property(out, "header.d", checks->arc.sets[checks->arc.count - 1].seal.domain);
}

static void put_dmarc(const struct checks *checks, struct buf *out)
{
    put_method(out, "dmarc", dmarc_result_name(checks->dmarc.result), checks->dmarc.reason);
    if (!slice_is_absent(checks->dmarc.place))
        buf_printf(out, " (p=%s)", dmarc_policy_name(checks->dmarc.published));
    put_property(out, "header.from", checks->from_domain);
}

void auth_results_put(const struct checks *checks, struct buf *out)
{
    const struct checks_options *options = &checks->options;
    buf_printf(out, "Authentication-Results: %s", options->host);
    if (options->is_iprev)
        put_iprev(checks, out);
    if (options->is_spf)
        put_spf(checks, out);
    for (size_t i = 0; i < checks->signature_count; i++)
        put_signature(&checks->signatures[i], out);
    if (options->is_dkim && checks->signature_count == 0)
        put_method(out, "dkim", "none", NULL);
    if (options->is_dmarc)
        put_dmarc(checks, out);
    if (options->is_arc)
        put_arc(checks, out);
    buf_append_text(out, "\r\n");
}
