/* RFC 7208 7: %{letter digits r delimiters}. */
#include "inbound/spf_private.h"

#include "base/buf.h"
#include "message/address.h"

#include <arpa/inet.h>
#include <stdio.h>

enum { NAME_SIZE_MAX = 253 };

struct macro { char letter; bool is_escaped, is_reversed; uint64_t keep; struct slice delimiters; };

static bool is_delimiter(char c) { return c && strchr(".-+,/_=", c) != NULL; }

/* What stands between the braces. */
static bool parse_macro(struct slice text, struct macro *ret_macro)
{
    size_t at = 1;
    if (text.size == 0 || !strchr("slodipvh", text.data[0] | 32) || text.data[0] == '\0')
        return false;
    *ret_macro = (struct macro){.letter = (char)(text.data[0] | 32), .is_escaped = text.data[0] < 'a', .delimiters = SLICE(".")};
    while (at < text.size && text.data[at] >= '0' && text.data[at] <= '9')
        at++;
    if (at > 1 && (!slice_to_u64(slice_first(slice_from(text, 1), at - 1), &ret_macro->keep) || ret_macro->keep == 0))
        return false;
    ret_macro->is_reversed = at < text.size && (text.data[at] | 32) == 'r';
    at += ret_macro->is_reversed;
    for (size_t i = at; i < text.size; i++)
        if (!is_delimiter(text.data[i]))
            return false;
    if (at < text.size)
        ret_macro->delimiters = slice_from(text, at);
    return true;
}

/* A toplabel (7.1): letters, digits and inner hyphens, not all digits. */
static bool is_toplabel(struct slice text)
{
    bool has_other = false;
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i], lower = (char)(c | 32);
        bool is_digit = c >= '0' && c <= '9';
        if (!is_digit && !(lower >= 'a' && lower <= 'z') && c != '-')
            return false;
        has_other = has_other || !is_digit;
    }
    return text.size && has_other && text.data[0] != '-' && text.data[text.size - 1] != '-';
}

static bool ends_well(struct slice tail, bool has_macro)
{
    size_t at;
    if (tail.size == 0)
        return has_macro;
    if (tail.data[tail.size - 1] == '.')
        tail.size--;
    for (at = tail.size; at > 0 && tail.data[at - 1] != '.'; at--)
        continue;
    return at > 0 && is_toplabel(slice_from(tail, at));
}

/* Octets of the macro at the front of `text`, which begins with "%"; 0 if it is none. */
static size_t macro_size(struct slice text, struct macro *ret_macro)
{
    ret_macro->letter = '\0';
    if (text.size < 2)
        return 0;
    if (text.data[1] == '%' || text.data[1] == '_' || text.data[1] == '-')
        return 2;
    ptrdiff_t end = slice_find_byte(text, '}');
    if (text.data[1] != '{' || end < 0 || !parse_macro(slice_make(text.data + 2, (size_t)end - 2), ret_macro))
        return 0;
    return (size_t)end + 1;
}

bool spf_macro_check(struct slice text, bool is_domain)
{
    struct macro macro;
    size_t tail = 0;
    for (size_t at = 0; at < text.size;) {
        if (text.data[at] == '%') {
            size_t size = macro_size(slice_from(text, at), &macro);
            if (size == 0)
                return false;
            at += size;
            tail = at;
        } else if (text.data[at] <= ' ' || text.data[at] >= 0x7f) {
            return false;
        } else {
            at++;
        }
    }
    return !is_domain || ends_well(slice_from(text, tail), tail > 0);
}

/* ---- values ---- */

static struct slice address_value(struct arena *arena, const struct in6_addr *address)
{
    char text[INET6_ADDRSTRLEN];
    if (spf_is_v4(address)) {
        (void)inet_ntop(AF_INET, &address->s6_addr[12], text, sizeof text);
        return arena_copy(arena, slice_of(text));
    }
    char *nibbles = arena_alloc(arena, 65);
    for (size_t i = 0; i < 16; i++)
        (void)snprintf(nibbles + 4 * i, 5, "%x.%x.", address->s6_addr[i] >> 4, address->s6_addr[i] & 15);
    return slice_make(nibbles, 63);
}

/* 7.3: the domain itself, else one below it, else any; "unknown" without a validated name. */
static bool name_value(struct spf_run *run, struct slice domain, struct slice *ret_value)
{
    struct slice names[SPF_NAMES_MAX];
    size_t count;
    *ret_value = SLICE("unknown");
    if (!spf_validated_names(run, names, &count))
        return false;
    if (count)
        *ret_value = names[0];
    for (size_t i = count; i > 0; i--)
        if (address_is_below(names[i - 1], domain))
            *ret_value = names[i - 1];
    for (size_t i = 0; i < count; i++)
        if (slice_equals_nocase(names[i], domain))
            *ret_value = names[i];
    return true;
}

static bool value_of(struct spf_run *run, char letter, struct slice domain, struct slice *ret_value)
{
    switch (letter) {
    case 's':
        *ret_value = arena_printf(run->arena, "%.*s@%.*s", SLICE_FMT(run->local), SLICE_FMT(run->sender_domain));
        break;
    case 'l': *ret_value = run->local; break;
    case 'o': *ret_value = run->sender_domain; break;
    case 'd': *ret_value = domain; break;
    case 'i': *ret_value = address_value(run->arena, &run->query->client); break;
    case 'v': *ret_value = spf_is_v4(&run->query->client) ? SLICE("in-addr") : SLICE("ip6"); break;
    case 'h': *ret_value = run->query->helo; break;
    default: return name_value(run, domain, ret_value);
    }
    return true;
}

/* ---- expansion ---- */

static void put(struct buf *out, struct slice text, bool is_escaped)
{
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i], lower = (char)(c | 32);
        bool is_plain = (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || (c && strchr("-._~", c));
        if (!is_escaped || is_plain)
            buf_append_byte(out, c);
        else
            buf_printf(out, "%%%02X", (unsigned char)c);
    }
}

/* Splits at the delimiters, turns round, keeps those on the right, joins with dots (7.3). */
static void put_transformed(struct arena *arena, const struct macro *macro, struct slice value, struct buf *out)
{
    struct slice *parts = arena_alloc(arena, (value.size + 1) * sizeof *parts);
    size_t count = 0, start = 0;
    for (size_t i = 0; i <= value.size; i++) {
        if (i < value.size && slice_find_byte(macro->delimiters, value.data[i]) < 0)
            continue;
        parts[count++] = slice_make(value.data + start, i - start);
        start = i + 1;
    }
    size_t keep = macro->keep && macro->keep < count ? (size_t)macro->keep : count;
    for (size_t i = count - keep; i < count; i++) {
        if (i > count - keep)
            buf_append_byte(out, '.');
        put(out, parts[macro->is_reversed ? count - 1 - i : i], macro->is_escaped);
    }
}

/* 7.3: a name that is too long loses labels on its left. */
static struct slice shorten(struct slice name)
{
    if (name.size && name.data[name.size - 1] == '.')
        name.size--;
    while (name.size > NAME_SIZE_MAX && slice_find_byte(name, '.') >= 0)
        (void)slice_cut(&name, '.');
    return name;
}

bool spf_macro_expand(struct spf_run *run, struct slice text, struct slice domain, struct slice *ret_text)
{
    struct buf out = {0};
    struct macro macro;
    struct slice value;
    bool is_done = true;
    for (size_t at = 0; at < text.size && is_done;) {
        size_t size = text.data[at] == '%' ? macro_size(slice_from(text, at), &macro) : 0;
        if (size == 0) {
            buf_append_byte(&out, text.data[at++]);
            continue;
        }
        if (macro.letter == '\0')
            buf_append_text(&out, text.data[at + 1] == '%' ? "%" : text.data[at + 1] == '_' ? " " : "%20");
        else if ((is_done = value_of(run, macro.letter, domain, &value)))
            put_transformed(run->arena, &macro, value, &out);
        at += size;
    }
    *ret_text = shorten(arena_copy(run->arena, buf_slice(&out)));
    if (slice_is_absent(*ret_text))
        *ret_text = SLICE("");
    buf_finish(&out);
    return is_done;
}
