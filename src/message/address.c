/* A recursive grammar read by a flat loop: a mailbox is collected as tokens (words, dots, "@", "<", ">"), comments are
 * skipped where they stand, and at a separator the tokens are judged together. That takes the forms of RFC 5322 and the
 * sloppy ones of real writers by the same road. */
#include "message/address.h"

#include "base/utf8.h"

#include <arpa/inet.h>
#include <idn2.h>
#include <stdlib.h>

enum { TOKENS_MAX = 256, COMMENT_DEPTH_MAX = 64, LOCAL_MAX = 64, DOMAIN_MAX = 255, PATH_MAX_OCTETS = 254 };

enum token_kind { TOKEN_ATOM, TOKEN_QUOTED, TOKEN_DOT, TOKEN_AT, TOKEN_OPEN, TOKEN_CLOSE, TOKEN_LITERAL };

struct token {
    enum token_kind kind;
    struct slice text;      /* atom; literal with brackets; quoted: the inside, pairs still quoted */
    bool is_after_blank;    /* blanks or a comment stand in front */
};

struct cursor {
    struct slice rest;
    struct token tokens[TOKENS_MAX];
    size_t count;
    bool is_blank_seen;
    const char *problem;    /* of the mailbox under way; static text */
};

static bool is_atom_char(unsigned char c)
{
    return c > 0x20 && c != 0x7f && !memchr("()<>[]:;@\\,.\"", c, 13);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void take(struct cursor *cursor, size_t size)
{
    cursor->rest = slice_from(cursor->rest, size);
}

static void push(struct cursor *cursor, enum token_kind kind, struct slice text)
{
    if (cursor->count == TOKENS_MAX) {
        /* Words of a display name can be many: the oldest ones tell nothing about the address. */
        memmove(cursor->tokens, cursor->tokens + 1, (TOKENS_MAX - 1) * sizeof cursor->tokens[0]);
        cursor->count--;
    }
    cursor->tokens[cursor->count++] = (struct token){kind, text, cursor->is_blank_seen};
    cursor->is_blank_seen = false;
}

/* RFC 5322 3.2.2; the opening parenthesis is at the front. */
static void skip_comment(struct cursor *cursor)
{
    size_t depth = 0, i = 0;
    struct slice s = cursor->rest;
    for (; i < s.size; i++) {
        if (s.data[i] == '\\' && i + 1 < s.size)
            i++;
        else if (s.data[i] == '(' && ++depth > COMMENT_DEPTH_MAX)
            cursor->problem = "comments nested too deeply";
        else if (s.data[i] == ')' && --depth == 0)
            break;
    }
    if (i == s.size)
        cursor->problem = "comment without end";
    take(cursor, i < s.size ? i + 1 : s.size);
    cursor->is_blank_seen = true;
}

static void take_quoted(struct cursor *cursor)
{
    struct slice s = cursor->rest;
    size_t i = 1;
    while (i < s.size && s.data[i] != '"')
        i += s.data[i] == '\\' && i + 1 < s.size ? 2 : 1;
    if (i >= s.size) {
        cursor->problem = "quoted string without end";
        take(cursor, s.size);
        return;
    }
    push(cursor, TOKEN_QUOTED, slice_make(s.data + 1, i - 1));
    take(cursor, i + 1);
}

static void take_literal(struct cursor *cursor)
{
    ptrdiff_t end = slice_find_byte(cursor->rest, ']');
    if (end < 0) {
        cursor->problem = "address literal without \"]\"";
        take(cursor, cursor->rest.size);
        return;
    }
    push(cursor, TOKEN_LITERAL, slice_first(cursor->rest, (size_t)end + 1));
    take(cursor, (size_t)end + 1);
}

static void take_atom(struct cursor *cursor)
{
    size_t size = 0;
    while (size < cursor->rest.size && is_atom_char((unsigned char)cursor->rest.data[size]))
        size++;
    if (size == 0) {
        cursor->problem = "a character that an address can't hold";
        size = 1;
    } else {
        push(cursor, TOKEN_ATOM, slice_first(cursor->rest, size));
    }
    take(cursor, size);
}

/* One token or separator; returns the separator met (',', ';', ':'), 0 otherwise. */
static char step(struct cursor *cursor)
{
    char c = cursor->rest.data[0];
    if (is_blank(c)) {
        cursor->is_blank_seen = true;
        take(cursor, 1);
        return 0;
    }
    switch (c) {
    case ',':
    case ';':
    case ':':
        take(cursor, 1);
        return c;
    case '(':
        skip_comment(cursor);
        return 0;
    case '"':
        take_quoted(cursor);
        return 0;
    case '[':
        take_literal(cursor);
        return 0;
    case '.':
    case '@':
    case '<':
    case '>':
        push(cursor, c == '.' ? TOKEN_DOT : c == '@' ? TOKEN_AT : c == '<' ? TOKEN_OPEN : TOKEN_CLOSE,
             slice_first(cursor->rest, 1));
        take(cursor, 1);
        return 0;
    default:
        take_atom(cursor);
        return 0;
    }
}

/* A1: the local part's meaning, quoted again only where it must be. A3: no control octets. */
static bool build_local(struct arena *arena, const struct token *tokens, size_t count, struct slice *ret_local,
                        struct error *error)
{
    size_t room = 3;
    for (size_t i = 0; i < count; i++)
        room += tokens[i].text.size * 2;
    char *plain = arena_alloc(arena, room), *text = arena_alloc(arena, room);
    size_t size = 0, length = 0;
    bool must_quote = count == 0;

    for (size_t i = 0; i < count; i++) {
        struct slice part = tokens[i].text;
        bool is_quoted = tokens[i].kind == TOKEN_QUOTED;
        size_t start = size;
        if (tokens[i].kind == TOKEN_DOT)
            must_quote |= i == 0 || i + 1 == count || tokens[i - 1].kind == TOKEN_DOT;
        else if (tokens[i].kind == TOKEN_LITERAL || (i && tokens[i - 1].kind != TOKEN_DOT))
            return error_set(error, "words where a local part was expected");
        for (size_t k = 0; k < part.size; k++) {
            unsigned char c = (unsigned char)part.data[k];
            if (is_quoted && c == '\\' && k + 1 < part.size)
                c = (unsigned char)part.data[++k];
            if (c < 0x20 || c == 0x7f)
                return error_set(error, "control character in the local part");
            must_quote |= !is_atom_char(c) && tokens[i].kind != TOKEN_DOT && c != '.';
            must_quote |= is_quoted && c == '.' && (size == start || k + 1 == part.size || plain[size - 1] == '.');
            plain[size++] = (char)c;
        }
        must_quote |= is_quoted && part.size == 0;
    }
    if (must_quote && (count == 0 || tokens[0].kind == TOKEN_DOT || tokens[count - 1].kind == TOKEN_DOT))
        return error_set(error, count ? "a dot at the edge of the local part" : "no local part");
    for (size_t i = 1; i < count; i++)
        if (tokens[i].kind == TOKEN_DOT && tokens[i - 1].kind == TOKEN_DOT)
            return error_set(error, "two dots in a row");
    if (!must_quote) {
        *ret_local = slice_make(plain, size);
        return true;
    }
    text[length++] = '"';
    for (size_t i = 0; i < size; i++) {
        if (plain[i] == '"' || plain[i] == '\\')
            text[length++] = '\\';
        text[length++] = plain[i];
    }
    text[length++] = '"';
    *ret_local = slice_make(text, length);
    return true;
}

static bool build_domain(struct arena *arena, const struct token *tokens, size_t count,
                         struct slice *ret_domain, struct error *error)
{
    if (count == 0)
        return error_set(error, "no domain behind \"@\"");
    if (count == 1 && tokens[0].kind == TOKEN_LITERAL)
        return address_domain(arena, tokens[0].text, ret_domain, error);
    struct slice text = SLICE("");
    for (size_t i = 0; i < count; i++) {
        bool is_expected = tokens[i].kind == (i % 2 ? TOKEN_DOT : TOKEN_ATOM);
        if (!is_expected && !(tokens[i].kind == TOKEN_DOT && i + 1 == count))
            return error_set(error, "a domain as in example.com was expected behind \"@\"");
        text = arena_printf(arena, "%.*s%.*s", SLICE_FMT(text), SLICE_FMT(tokens[i].text));
    }
    return address_domain(arena, text, ret_domain, error);
}

static bool build_address(struct arena *arena, const struct token *tokens, size_t count,
                          struct address *ret_address, struct error *error)
{
    struct slice local, domain = SLICE("");
    size_t at = count;
    for (size_t i = 0; i < count; i++) {
        if (tokens[i].kind == TOKEN_OPEN || tokens[i].kind == TOKEN_CLOSE)
            return error_set(error, "angle brackets out of place");
        if (tokens[i].kind == TOKEN_AT && at != count)
            return error_set(error, "more than one \"@\"");
        if (tokens[i].kind == TOKEN_AT)
            at = i;
    }
    if (!build_local(arena, tokens, at, &local, error)
        || (at < count && !build_domain(arena, tokens + at + 1, count - at - 1, &domain, error)))
        return false;
    if (local.size > LOCAL_MAX)
        return error_set(error, "local part over %d octets", LOCAL_MAX);
    if (at < count && local.size + 1 + domain.size > PATH_MAX_OCTETS)
        return error_set(error, "address over %d octets", PATH_MAX_OCTETS);
    if (slice_has_8bit(local) && !utf8_is_valid(local))
        return error_set(error, "local part is neither ASCII nor UTF-8");
    ret_address->local = local;
    ret_address->domain = domain;
    ret_address->text =
        at < count ? arena_printf(arena, "%.*s@%.*s", SLICE_FMT(local), SLICE_FMT(domain)) : local;
    ret_address->is_utf8_local = slice_has_8bit(local);
    return true;
}

/* A bare addr-spec before more words: `a@example.com John Doe` ends where a new word begins. */
static size_t spec_end(const struct token *tokens, size_t count)
{
    bool has_at = false;
    for (size_t i = 0; i < count; i++) {
        bool is_joined = i == 0 || tokens[i].kind == TOKEN_DOT || tokens[i].kind == TOKEN_AT
                         || tokens[i - 1].kind == TOKEN_DOT || tokens[i - 1].kind == TOKEN_AT;
        if (has_at && tokens[i].is_after_blank && !is_joined)
            return i;
        has_at |= tokens[i].kind == TOKEN_AT;
    }
    return count;
}

static struct slice display_of(const struct token *tokens, size_t count)
{
    if (count == 0)
        return SLICE_NONE;
    if (count == 1)
        return tokens[0].text;
    const char *from = tokens[0].text.data - (tokens[0].kind == TOKEN_QUOTED);
    const struct token *last = &tokens[count - 1];
    return slice_make(from, (size_t)(last->text.data + last->text.size - from)
                                + (last->kind == TOKEN_QUOTED));
}

/* Judges the collected tokens of one mailbox. */
static bool build_mailbox(struct arena *arena, const struct cursor *cursor, struct address *ret_address,
                          struct error *error)
{
    const struct token *tokens = cursor->tokens;
    size_t count = cursor->count, open = count, close = count;

    if (cursor->problem)
        return error_set(error, "%s", cursor->problem);
    for (size_t i = 0; i < count; i++)
        if (tokens[i].kind == TOKEN_OPEN)
            open = i;
    *ret_address = (struct address){0};
    if (open == count) {
        if (!build_address(arena, tokens, spec_end(tokens, count), ret_address, error))
            return false;
        /* A display name cut by an unquoted comma, no local name. */
        return ret_address->domain.size || !slice_starts(ret_address->local, SLICE("=?"))
               || error_set(error, "an encoded word where an address was expected");
    }
    for (size_t i = count; i > open; i--)
        if (tokens[i - 1].kind == TOKEN_CLOSE)
            close = i - 1;
    for (size_t i = 0; i < open; i++)
        if (tokens[i].kind == TOKEN_OPEN || tokens[i].kind == TOKEN_CLOSE)
            return error_set(error, "angle brackets out of place");
    if (close == open + 1 || open + 1 == count)
        return error_set(error, "empty address");
    if (!build_address(arena, tokens + open + 1, close - open - 1, ret_address, error))
        return false;
    ret_address->display = display_of(tokens, open);
    return true;
}

/* RFC 5321 4.1.2: a source route is taken and ignored. */
static void skip_route(struct cursor *cursor)
{
    struct slice rest = cursor->rest;
    while (rest.size && is_blank(rest.data[0]))
        rest = slice_from(rest, 1);
    ptrdiff_t colon = slice_find_byte(rest, ':'), close = slice_find_byte(rest, '>');
    if (rest.size && rest.data[0] == '@' && colon > 0 && (close < 0 || colon < close))
        cursor->rest = slice_from(rest, (size_t)colon + 1);
}

static bool is_full(const struct address_list *list, size_t count_max)
{
    return list->count + list->fault_count >= count_max;
}

static void add_address(struct arena *arena, struct address_list *list, const struct address *address)
{
    if ((list->count & (list->count - 1)) == 0)
        list->items = arena_grow(arena, list->items, list->count, list->count ? list->count * 2 : 1,
                                 sizeof *list->items);
    list->items[list->count++] = *address;
}

static void add_fault(struct arena *arena, struct address_list *list, struct slice text,
                      const struct error *reason)
{
    if ((list->fault_count & (list->fault_count - 1)) == 0)
        list->faults = arena_grow(arena, list->faults, list->fault_count,
                                  list->fault_count ? list->fault_count * 2 : 1, sizeof *list->faults);
    list->faults[list->fault_count++] =
        (struct address_fault){text, arena_text(arena, slice_of(reason->text))};
}

static bool has_kind(const struct token *tokens, size_t count, enum token_kind kind)
{
    for (size_t i = 0; i < count; i++)
        if (tokens[i].kind == kind)
            return true;
    return false;
}

/* `a@x.com b@y.com`: further bare addresses that only blanks part from the first, as forms and old mailers write them. What
 * holds no "@" is somebody's name. */
static bool add_bare_ones(struct arena *arena, const struct cursor *cursor, size_t count_max,
                          struct address_list *list)
{
    const struct token *tokens = cursor->tokens;
    size_t count = cursor->count;
    if (cursor->problem || has_kind(tokens, count, TOKEN_OPEN))
        return true;
    for (size_t from = spec_end(tokens, count), size; from < count; from += size) {
        struct address address = {0};
        struct error reason;
        size = spec_end(tokens + from, count - from);
        if (!has_kind(tokens + from, size, TOKEN_AT))
            continue;
        if (is_full(list, count_max))
            return false;
        const struct slice last = tokens[from + size - 1].text;
        struct slice text = slice_make(tokens[from].text.data,
                                       (size_t)(last.data + last.size - tokens[from].text.data));
        if (build_address(arena, tokens + from, size, &address, &reason))
            add_address(arena, list, &address);
        else
            add_fault(arena, list, text, &reason);
    }
    return true;
}

/* The end of one mailbox: an address, a fault, or nothing where nothing stood. */
static bool finish_mailbox(struct arena *arena, struct cursor *cursor, struct slice text, size_t count_max,
                           struct address_list *list)
{
    struct address address;
    struct error reason = {0};
    bool is_fine = true;
    if (cursor->count || cursor->problem) {
        is_fine = !is_full(list, count_max);
        if (is_fine && build_mailbox(arena, cursor, &address, &reason))
            add_address(arena, list, &address);
        else if (is_fine)
            add_fault(arena, list, slice_trim(text), &reason);
        is_fine = is_fine && add_bare_ones(arena, cursor, count_max, list);
    }
    cursor->count = 0;
    cursor->problem = NULL;
    cursor->is_blank_seen = false;
    return is_fine;
}

bool address_list_parse(struct arena *arena, struct slice value, size_t count_max,
                        struct address_list *ret_list, struct error *error)
{
    struct cursor cursor = {.rest = value};
    struct address_list list = {0};
    const char *start = value.data;

    while (cursor.rest.size) {
        const char *before = cursor.rest.data;
        char separator = step(&cursor);
        if (cursor.count && cursor.tokens[cursor.count - 1].kind == TOKEN_OPEN)
            skip_route(&cursor);
        if (separator == 0)
            continue;
        if (separator == ':') { /* what stood before was a group's name */
            cursor.count = 0;
            cursor.problem = NULL;
        } else if (!finish_mailbox(arena, &cursor, slice_make(start, (size_t)(before - start)), count_max,
                                   &list)) {
            return error_set(error, "more than %zu addresses", count_max);
        }
        start = cursor.rest.data;
    }
    if (!finish_mailbox(arena, &cursor, slice_make(start, (size_t)(cursor.rest.data - start)), count_max,
                        &list))
        return error_set(error, "more than %zu addresses", count_max);
    *ret_list = list;
    return true;
}

bool address_parse(struct arena *arena, struct slice text, struct address *ret_address,
                   struct error *error)
{
    struct cursor cursor = {.rest = slice_trim(text)};
    struct address address = {0};
    size_t first = 0, last;

    while (cursor.rest.size) {
        if (step(&cursor) != 0)
            return error_set(error, "one address alone was expected");
        if (cursor.count && cursor.tokens[cursor.count - 1].kind == TOKEN_OPEN)
            skip_route(&cursor);
    }
    if (cursor.problem)
        return error_set(error, "%s", cursor.problem);
    last = cursor.count;
    if (last >= 2 && cursor.tokens[0].kind == TOKEN_OPEN && cursor.tokens[last - 1].kind == TOKEN_CLOSE) {
        first = 1;
        last--;
    }
    if (!build_address(arena, cursor.tokens + first, last - first, &address, error))
        return false;
    *ret_address = address;
    return true;
}

void address_qualify(struct arena *arena, struct slice domain, struct address *address)
{
    if (address->domain.size || address->local.size == 0)
        return;
    address->domain = domain;
    address->text = arena_printf(arena, "%.*s@%.*s", SLICE_FMT(address->local), SLICE_FMT(domain));
}

/* RFC 1035 2.3.1 with the underscore that real hosts have. */
static bool is_host_name(struct slice text)
{
    size_t label = 0;
    if (text.size == 0 || text.size > DOMAIN_MAX)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        bool is_inner = c == '-' || c == '_';
        bool is_plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (c == '.') {
            if (label == 0 || text.data[i - 1] == '-')
                return false;
            label = 0;
            continue;
        }
        if ((!is_plain && !is_inner) || (c == '-' && label == 0) || ++label > 63)
            return false;
    }
    return label > 0 && text.data[text.size - 1] != '-';
}

/* RFC 5321 4.1.3 */
static bool check_literal(struct slice text, struct error *error)
{
    char inside[64];
    unsigned char octets[16];
    struct slice host = slice_make(text.data + 1, text.size - 2);
    bool is_v6 = slice_starts_nocase(host, SLICE("IPv6:"));
    if (is_v6)
        host = slice_from(host, 5);
    if (host.size >= sizeof inside)
        return error_set(error, "no IP address in the brackets");
    memcpy(inside, host.data, host.size);
    inside[host.size] = '\0';
    if (strlen(inside) != host.size || inet_pton(is_v6 ? AF_INET6 : AF_INET, inside, octets) != 1)
        return error_set(error, "no IP address in the brackets (IPv6 wants the tag \"IPv6:\")");
    return true;
}

bool address_domain(struct arena *arena, struct slice text, struct slice *ret_domain,
                    struct error *error)
{
    if (text.size >= 2 && text.data[0] == '[' && text.data[text.size - 1] == ']') {
        if (!check_literal(text, error))
            return false;
        *ret_domain = arena_copy(arena, text);
        return true;
    }
    if (text.size && text.data[text.size - 1] == '.')
        text.size--;
    char *copy = arena_text(arena, text);
    struct slice domain = slice_make(copy, text.size);
    if (slice_has_8bit(text)) {
        char *ascii = NULL;
        if (strlen(copy) != text.size
            || idn2_lookup_u8((const uint8_t *)copy, (uint8_t **)&ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL)
                   != IDN2_OK)
            return error_set(error, "no valid international domain name");
        domain = arena_copy(arena, slice_of(ascii));
        idn2_free(ascii);
    } else {
        for (size_t i = 0; i < text.size; i++)
            if (copy[i] >= 'A' && copy[i] <= 'Z')
                copy[i] = (char)(copy[i] - 'A' + 'a');
    }
    if (!is_host_name(domain))
        return error_set(error, "a domain as in example.com was expected");
    *ret_domain = domain;
    return true;
}

bool address_is_below(struct slice domain, struct slice top)
{
    return domain.size > top.size && domain.data[domain.size - top.size - 1] == '.' && slice_ends_nocase(domain, top);
}
