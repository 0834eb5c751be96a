#include "inbound/spf_private.h"

#include <arpa/inet.h>

static const struct { const char *name; enum spf_kind kind; bool needs_domain, may_domain, may_bits; } mechanisms[] = {
    {"all", TERM_ALL, false, false, false},       {"include", TERM_INCLUDE, true, true, false},
    {"a", TERM_A, false, true, true},             {"mx", TERM_MX, false, true, true},
    {"ptr", TERM_PTR, false, true, false},        {"ip4", TERM_IP4, true, true, true},
    {"ip6", TERM_IP6, true, true, true},          {"exists", TERM_EXISTS, true, true, false},
};

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
}

/* Cuts "/24" off the end; without one `ret_bits` stays. False if it is malformed. */
static bool cut_bits(struct slice *text, const char *slash, unsigned most, unsigned *ret_bits)
{
    size_t at = text->size, length = strlen(slash);
    uint64_t bits;
    while (at > 0 && text->data[at - 1] >= '0' && text->data[at - 1] <= '9')
        at--;
    struct slice digits = slice_from(*text, at);
    if (at < length || memcmp(text->data + at - length, slash, length) != 0)
        return true;
    if (length == 1 && at >= 2 && text->data[at - 2] == '/')
        return true; /* the IPv6 part is cut by itself */
    if (!slice_to_u64(digits, &bits) || bits > most || (digits.size > 1 && digits.data[0] == '0'))
        return false;
    *ret_bits = (unsigned)bits;
    text->size = at - length;
    return true;
}

static const char *parse_address(struct slice text, struct spf_term *term)
{
    char copy[INET6_ADDRSTRLEN + 1];
    unsigned bits = 128;
    bool is_v4 = term->kind == TERM_IP4;
    if (!cut_bits(&text, "/", is_v4 ? 32 : 128, is_v4 ? &term->bits4 : &bits) || text.size >= sizeof copy)
        return "a network that is none";
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    term->bits6 = bits;
    term->address = (struct in6_addr){.s6_addr = {[10] = 0xff, [11] = 0xff}};
    int result = is_v4 ? inet_pton(AF_INET, copy, &term->address.s6_addr[12]) : inet_pton(AF_INET6, copy, &term->address);
    return result == 1 ? NULL : "an address that is none";
}

static const char *parse_arguments(struct slice rest, size_t row, struct spf_term *term)
{
    bool has_domain = rest.size && rest.data[0] == ':';
    if (has_domain)
        rest = slice_from(rest, 1);
    if (term->kind == TERM_IP4 || term->kind == TERM_IP6)
        return has_domain ? parse_address(rest, term) : "ip4 or ip6 without an address";
    if (mechanisms[row].may_bits && (!cut_bits(&rest, "//", 128, &term->bits6) || !cut_bits(&rest, "/", 32, &term->bits4)))
        return "a prefix length that is none";
    if (has_domain ? !mechanisms[row].may_domain : mechanisms[row].needs_domain || rest.size)
        return "a mechanism with the wrong arguments";
    if (has_domain && !spf_macro_check(rest, true))
        return "a domain that is none";
    term->domain = has_domain ? rest : SLICE_NONE;
    return NULL;
}

static const char *parse_mechanism(struct slice text, struct spf_term *term)
{
    static const char signs[] = "+-~?";
    static const enum spf_result qualifiers[] = {SPF_PASS, SPF_FAIL, SPF_SOFTFAIL, SPF_NEUTRAL};
    const char *sign = text.size && text.data[0] ? strchr(signs, text.data[0]) : NULL;
    *term = (struct spf_term){.qualifier = sign ? qualifiers[sign - signs] : SPF_PASS, .bits4 = 32, .bits6 = 128};
    if (sign)
        text = slice_from(text, 1);
    size_t size = 0;
    while (size < text.size && is_name_char(text.data[size]))
        size++;
    for (size_t row = 0; row < COUNT_OF(mechanisms); row++) {
        if (!slice_equals_nocase(slice_first(text, size), slice_of(mechanisms[row].name)))
            continue;
        term->kind = mechanisms[row].kind;
        return parse_arguments(slice_from(text, size), row, term);
    }
    return "an unknown mechanism";
}

static const char *parse_modifier(struct slice name, struct slice value, struct spf_record *record, bool *has_exp)
{
    bool is_redirect = slice_equals_nocase(name, SLICE("redirect")), is_exp = slice_equals_nocase(name, SLICE("exp"));
    if (!spf_macro_check(value, is_redirect || is_exp))
        return "a modifier that can't be read";
    if ((is_redirect && !slice_is_absent(record->redirect)) || (is_exp && *has_exp))
        return "a modifier twice";
    if (is_redirect)
        record->redirect = value;
    *has_exp = *has_exp || is_exp;
    return NULL;
}

const char *spf_record_parse(struct arena *arena, struct slice text, struct spf_record *ret_record)
{
    bool has_exp = false;
    *ret_record = (struct spf_record){.terms = arena_alloc(arena, SPF_TERMS_MAX * sizeof *ret_record->terms)};
    (void)slice_cut(&text, ' ');
    while (text.size) {
        struct slice term = slice_cut(&text, ' ');
        size_t size = 0;
        const char *fault = NULL;
        if (term.size == 0)
            continue;
        while (size < term.size && is_name_char(term.data[size]))
            size++;
        bool is_letter = (term.data[0] | 32) >= 'a' && (term.data[0] | 32) <= 'z';
        if (size && size < term.size && term.data[size] == '=' && is_letter)
            fault = parse_modifier(slice_first(term, size), slice_from(term, size + 1), ret_record, &has_exp);
        else if (ret_record->count == SPF_TERMS_MAX)
            fault = "too many terms";
        else
            fault = parse_mechanism(term, &ret_record->terms[ret_record->count++]);
        if (fault)
            return fault;
    }
    return NULL;
}
