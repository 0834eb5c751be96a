#include "config/replies.h"

#include "base/mem.h"
#include "config/replies_builtin.h"
#include "config/value.h"
#include "message/address.h"

#include <ctype.h>
#include <stdlib.h>

struct rule {
    const struct reply_class *class;
    enum reply_verdict verdict;
    char *hosts;              /* "google.com,googlemail.com"; NULL: any host */
    char *code, *status;      /* status NULL: any */
    char *words;              /* NULL: any */
};

struct replies {
    struct reply_class **classes;
    size_t class_count;
    struct rule *rules;
    size_t rule_count;
};

struct parse {
    struct replies *replies;
    char *hosts;              /* of the section; NULL: any */
};

/* ---- reading ---- */

static struct slice next_word(struct slice *line)
{
    *line = slice_trim(*line);
    size_t size = 0;
    while (size < line->size && line->data[size] != ' ' && line->data[size] != '\t')
        size++;
    struct slice word = slice_first(*line, size);
    *line = slice_trim(slice_from(*line, size));
    return word;
}

static struct reply_class *class_find(const struct replies *replies, struct slice name)
{
    for (size_t i = 0; i < replies->class_count; i++)
        if (slice_equals(name, slice_of(replies->classes[i]->name)))
            return replies->classes[i];
    return NULL;
}

static bool set_attribute(struct reply_class *class, struct slice word, struct error *error)
{
    if (slice_equals(word, SLICE("retry")))
        class->verdict = REPLY_RETRY;
    else if (slice_equals(word, SLICE("fail")))
        class->verdict = REPLY_FAIL;
    else if (slice_equals(word, SLICE("bad-address")))
        class->is_address_bad = true;
    else if (slice_equals(word, SLICE("slow")))
        class->is_slow = true;
    else if (slice_equals(word, SLICE("other-family")))
        class->is_other_family = true;
    else if (!slice_starts(word, SLICE("rest=")) || !value_duration(slice_from(word, 5), &class->rest_ms))
        return error_set(error, "\"%.*s\": retry, fail, bad-address, slow, other-family or rest=DURATION was expected", SLICE_FMT(word));
    return true;
}

/* "NAME [ATTRIBUTE...] : words". A class that is known already gets these attributes instead. */
static bool read_class(struct replies *replies, struct slice line, struct error *error)
{
    ptrdiff_t colon = slice_find_byte(line, ':');
    struct slice words = colon < 0 ? SLICE("") : slice_trim(slice_from(line, (size_t)colon + 1));
    struct slice head = colon < 0 ? line : slice_first(line, (size_t)colon);
    struct slice name = next_word(&head);
    if (name.size == 0 || words.size == 0)
        return error_set(error, "class NAME [ATTRIBUTE...] : words was expected");
    struct reply_class new = {.name = NULL}, *class = class_find(replies, name);
    while (head.size)
        if (!set_attribute(&new, next_word(&head), error))
            return false;
    if (!class) {
        replies->classes = mem_resize(replies->classes, (replies->class_count + 1) * sizeof(struct reply_class *));
        class = replies->classes[replies->class_count++] = mem_alloc(sizeof *class);
    }
    free(class->name);
    free(class->words);
    new.name = slice_copy(name);
    new.words = slice_copy(words);
    *class = new;
    return true;
}

static bool is_code(struct slice text)
{
    bool is_fine = text.size == 3;
    for (size_t i = 0; is_fine && i < text.size; i++)
        is_fine = text.data[i] == 'x' || isdigit((unsigned char)text.data[i]);
    return is_fine;
}

/* "x.7.2x": three parts of digits and x. */
static bool is_status(struct slice text)
{
    size_t parts = 0;
    while (text.size) {
        struct slice part = slice_cut(&text, '.');
        if (part.size == 0 || ++parts > 3)
            return false;
        for (size_t i = 0; i < part.size; i++)
            if (part.data[i] != 'x' && !isdigit((unsigned char)part.data[i]))
                return false;
    }
    return parts == 3;
}

static bool read_rule(struct parse *parse, struct slice name, struct slice line, struct error *error)
{
    static const char expected[] = "CLASS[/retry|/fail] CODE STATUS [words] was expected";
    struct replies *replies = parse->replies;
    struct slice class_name = slice_cut(&name, '/');
    const struct reply_class *class = class_find(replies, class_name);
    struct slice code = next_word(&line), status = next_word(&line);
    bool is_any = slice_equals(status, SLICE("*"));
    if (!class)
        return error_set(error, "no class \"%.*s\": %s", SLICE_FMT(class_name), expected);
    if (!is_code(code))
        return error_set(error, "\"%.*s\" is no code, as 550 or 4xx: %s", SLICE_FMT(code), expected);
    if (!is_any && !is_status(status)) { /* words may follow the code at once */
        line = status.size ? slice_make(status.data, (size_t)(line.data + line.size - status.data)) : line;
        status = SLICE("*");
        is_any = true;
    }
    enum reply_verdict verdict = class->verdict;
    if (slice_equals(name, SLICE("retry")))
        verdict = REPLY_RETRY;
    else if (slice_equals(name, SLICE("fail")))
        verdict = REPLY_FAIL;
    else if (name.size)
        return error_set(error, "\"/%.*s\": /retry or /fail was expected", SLICE_FMT(name));
    replies->rules = mem_resize(replies->rules, (replies->rule_count + 1) * sizeof *replies->rules);
    replies->rules[replies->rule_count++] = (struct rule){
        class, verdict, parse->hosts ? mem_copy_text(parse->hosts) : NULL, slice_copy(code),
        is_any ? NULL : slice_copy(status), line.size ? slice_copy(line) : NULL};
    return true;
}

static bool read_line(struct parse *parse, struct slice line, struct error *error)
{
    line = slice_trim(line);
    if (line.size == 0 || line.data[0] == '#')
        return true;
    if (line.data[0] == '@') {
        free(parse->hosts);
        parse->hosts = line.size > 1 ? slice_copy(slice_from(line, 1)) : NULL;
        return true;
    }
    struct slice word = next_word(&line);
    return slice_equals(word, SLICE("class")) ? read_class(parse->replies, line, error)
                                              : read_rule(parse, word, line, error);
}

static void read_all(struct replies *replies, struct slice text, bool is_rules, replies_fault_fn *fn, void *arg)
{
    struct parse parse = {.replies = replies};
    struct error error;
    for (size_t line = 1; text.size; line++) {
        struct slice one = slice_trim(slice_cut(&text, '\n'));
        if (slice_starts(one, SLICE("class ")) != is_rules && !read_line(&parse, one, &error))
            fn(arg, line, error.text);
    }
    free(parse.hosts);
}

static void on_builtin_fault(void *arg, size_t line, const char *text)
{
    (void)arg;
    check_failed(text, "share/replies.conf", (int)line, __func__);
}

struct replies *replies_create(struct slice own, replies_fault_fn *fn, void *arg)
{
    struct replies *replies = mem_alloc(sizeof *replies);
    struct slice builtin = slice_make(replies_builtin, sizeof replies_builtin - 1);
    read_all(replies, builtin, false, on_builtin_fault, NULL);
    read_all(replies, own, false, fn, arg);
    read_all(replies, own, true, fn, arg);
    read_all(replies, builtin, true, on_builtin_fault, NULL);
    return replies;
}

void replies_destroy(struct replies **replies)
{
    struct replies *r = *replies;
    if (!r)
        return;
    for (size_t i = 0; i < r->class_count; i++) {
        free(r->classes[i]->name);
        free(r->classes[i]->words);
        free(r->classes[i]);
    }
    for (size_t i = 0; i < r->rule_count; i++) {
        free(r->rules[i].hosts);
        free(r->rules[i].code);
        free(r->rules[i].status);
        free(r->rules[i].words);
    }
    free(r->classes);
    free(r->rules);
    free(r);
    *replies = NULL;
}

/* ---- finding ---- */

static bool fits_code(const char *pattern, int code)
{
    int digits[3] = {code / 100, code / 10 % 10, code % 10};
    for (size_t i = 0; i < 3; i++)
        if (pattern[i] != 'x' && pattern[i] - '0' != digits[i])
            return false;
    return true;
}

static bool fits_status(const char *pattern, const char *status)
{
    struct slice wanted = slice_of(pattern), is = slice_of(status);
    while (wanted.size && is.size) {
        struct slice one = slice_cut(&wanted, '.'), other = slice_cut(&is, '.');
        if (slice_equals(one, SLICE("x")))
            continue;
        if (one.size != other.size)
            return false;
        for (size_t i = 0; i < one.size; i++)
            if (one.data[i] != other.data[i] && (one.data[i] != 'x' || !isdigit((unsigned char)other.data[i])))
                return false;
    }
    return wanted.size == is.size;
}

/* The end of `words` in the text from `from` on, at the start of a word; SIZE_MAX if they are not there. */
static size_t find_words(struct slice text, size_t from, struct slice words)
{
    bool is_word = isalnum((unsigned char)words.data[0]);
    for (size_t at = from; at + words.size <= text.size; at++)
        if (slice_equals_nocase(slice_make(text.data + at, words.size), words)
            && !(is_word && at > 0 && isalnum((unsigned char)text.data[at - 1])))
            return at + words.size;
    return SIZE_MAX;
}

static bool fits_words(const char *pattern, struct slice text)
{
    struct slice rest = slice_of(pattern);
    size_t at = 0;
    while (rest.size && at != SIZE_MAX) {
        struct slice words = slice_trim(slice_cut(&rest, '*'));
        if (words.size)
            at = find_words(text, at, words);
    }
    return at != SIZE_MAX;
}

static bool fits_host(const char *hosts, struct slice host)
{
    struct slice rest = slice_of(hosts);
    while (rest.size) {
        struct slice suffix = slice_trim(slice_cut(&rest, ','));
        if (slice_equals_nocase(host, suffix) || address_is_below(host, suffix))
            return true;
    }
    return false;
}

struct reply_meaning replies_find(const struct replies *replies, struct slice host, int code, const char *status,
                                  struct slice text)
{
    for (size_t i = 0; i < replies->rule_count; i++) {
        const struct rule *rule = &replies->rules[i];
        if (fits_code(rule->code, code) && (!rule->status || fits_status(rule->status, status))
            && (!rule->hosts || fits_host(rule->hosts, host)) && (!rule->words || fits_words(rule->words, text)))
            return (struct reply_meaning){rule->class, rule->verdict};
    }
    return (struct reply_meaning){NULL, REPLY_BY_CODE};
}
