#include "message/aliases.h"

#include "base/hash.h"
#include "base/mem.h"

#include <stdlib.h>

enum { TARGETS_MAX = 100000 };

struct target {
    struct address address;  /* without a domain: of the domain the mail came for */
    struct alias *alias;     /* it is looked up again; NULL: it is meant as it stands */
    bool is_final;           /* \name */
};

struct alias {
    char *name;              /* key, lower case */
    size_t name_size, line, number;
    struct target *targets;
    size_t count, capacity;
    unsigned char mark;      /* while loops are looked for: MARK_… */
    UT_hash_handle hh;
};

enum { MARK_NONE, MARK_OPEN, MARK_DONE };

struct aliases {
    struct alias *table;
    struct arena arena;
    size_t count;
};

struct parse {
    struct aliases *aliases;
    aliases_local_fn *is_local;
    void *local_arg;
    aliases_fault_fn *fault;
    void *fault_arg;
    bool has_faults;
};

static void complain(struct parse *parse, size_t line, const char *text)
{
    parse->has_faults = true;
    parse->fault(parse->fault_arg, line, text);
}

static char *lower_copy(struct slice text)
{
    char *copy = slice_copy(text);
    for (size_t i = 0; i < text.size; i++)
        if (copy[i] >= 'A' && copy[i] <= 'Z')
            copy[i] = (char)(copy[i] + 32);
    return copy;
}

static struct alias *find(const struct aliases *aliases, struct slice local)
{
    struct alias *alias;
    char *key = lower_copy(local);
    HASH_FIND(hh, aliases->table, key, local.size, alias);
    free(key);
    return alias;
}

/* ---- lines ---- */

/* The offset of `byte` outside quotes and comments in parentheses, or -1. */
static ptrdiff_t find_bare(struct slice text, char byte)
{
    bool is_quoted = false;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '\\' && is_quoted)
            i++;
        else if (text.data[i] == '"')
            is_quoted = !is_quoted;
        else if (text.data[i] == byte && !is_quoted)
            return (ptrdiff_t)i;
    }
    return -1;
}

static const char *forbidden(struct slice text)
{
    struct slice bare = text.size && text.data[0] == '"' ? slice_from(text, 1) : text;
    if (slice_starts(bare, SLICE("|")))
        return "programs are never run: hand the mail over by LMTP, or let the program read Drop";
    if (slice_starts(bare, SLICE("/")))
        return "files are not written: an address was expected";
    if (slice_starts_nocase(bare, SLICE(":")))
        return "\":include:\" and its like are not read: an address was expected";
    return NULL;
}

static void add_target(struct parse *parse, struct alias *alias, struct slice text, size_t line)
{
    struct target target = {0};
    struct error error;
    const char *why = forbidden(text);
    if (why) {
        complain(parse, line, why);
        return;
    }
    if (text.data[0] == '\\') {
        target.is_final = true;
        text = slice_from(text, 1);
    }
    if (!address_parse(&parse->aliases->arena, text, &target.address, &error)) {
        (void)error_prefix(&error, "\"%.*s\"", SLICE_FMT(text));
        complain(parse, line, error.text);
        return;
    }
    if (alias->count == alias->capacity) {
        size_t capacity = alias->capacity ? 2 * alias->capacity : 2;
        alias->targets = arena_grow(&parse->aliases->arena, alias->targets, alias->count, capacity,
                                    sizeof *alias->targets);
        alias->capacity = capacity;
    }
    alias->targets[alias->count++] = target;
}

static void add_targets(struct parse *parse, struct alias *alias, struct slice text, size_t line)
{
    while (text.size) {
        ptrdiff_t comma = find_bare(text, ',');
        struct slice item = slice_trim(comma < 0 ? text : slice_first(text, (size_t)comma));
        text = comma < 0 ? SLICE("") : slice_from(text, (size_t)comma + 1);
        if (item.size)
            add_target(parse, alias, item, line);
    }
}

static struct alias *add_alias(struct parse *parse, struct slice name, size_t line)
{
    struct aliases *aliases = parse->aliases;
    struct address address;
    struct error error;
    if (aliases->count >= ALIASES_COUNT_MAX) {
        complain(parse, line, "too many aliases");
        return NULL;
    }
    if (!address_parse(&aliases->arena, name, &address, &error) || address.domain.size) {
        complain(parse, line, "\"name: address, …\" was expected, the name without a domain");
        return NULL;
    }
    if (find(aliases, address.local)) {
        complain(parse, line, "this name is there twice");
        return NULL;
    }
    struct alias *alias = mem_alloc(sizeof *alias);
    alias->name = lower_copy(address.local);
    alias->name_size = address.local.size;
    alias->line = line;
    alias->number = aliases->count++;
    HASH_ADD_KEYPTR(hh, aliases->table, alias->name, alias->name_size, alias);
    return alias;
}

static void read_lines(struct parse *parse, struct slice text)
{
    struct alias *alias = NULL;
    for (size_t line = 1; text.size; line++) {
        struct slice whole = slice_cut(&text, '\n');
        struct slice rest = slice_trim(whole);
        if (rest.size == 0 || rest.data[0] == '#')
            continue;
        bool goes_on = whole.data[0] == ' ' || whole.data[0] == '\t';
        if (!goes_on) {
            ptrdiff_t colon = find_bare(rest, ':');
            alias = add_alias(parse, colon < 0 ? SLICE("@") : slice_trim(slice_first(rest, (size_t)colon)), line);
            rest = colon < 0 ? SLICE("") : slice_from(rest, (size_t)colon + 1);
        }
        if (alias)
            add_targets(parse, alias, slice_trim(rest), line);
        else if (goes_on && !parse->has_faults)
            complain(parse, line, "a line that begins with a blank goes on, but nothing is before it");
    }
}

/* ---- what an alias leads to ---- */

static void link_targets(struct parse *parse, struct alias *alias)
{
    if (alias->count == 0)
        complain(parse, alias->line, "an alias without an address");
    for (size_t i = 0; i < alias->count; i++) {
        struct target *target = &alias->targets[i];
        bool is_ours = target->address.domain.size == 0 || parse->is_local(parse->local_arg, target->address.domain);
        if (is_ours && !target->is_final)
            target->alias = find(parse->aliases, target->address.local);
    }
}

struct frame { struct alias *alias; size_t next; };

/* Depth first with a stack of its own: a file may nest as deep as it is long. */
static void find_loops(struct parse *parse, struct alias *start, struct frame *stack)
{
    size_t depth = 0;
    if (start->mark != MARK_NONE)
        return;
    stack[depth++] = (struct frame){start, 0};
    start->mark = MARK_OPEN;
    while (depth) {
        struct frame *top = &stack[depth - 1];
        if (top->next == top->alias->count) {
            top->alias->mark = MARK_DONE;
            depth--;
            continue;
        }
        struct alias *inner = top->alias->targets[top->next++].alias;
        if (inner && inner->mark == MARK_OPEN) {
            struct error error;
            (void)error_set(&error, "a loop: %s leads back to %s; \\%s would be the mailbox itself", top->alias->name,
                            inner->name, inner->name);
            complain(parse, top->alias->line, error.text);
        } else if (inner && inner->mark == MARK_NONE) {
            inner->mark = MARK_OPEN;
            stack[depth++] = (struct frame){inner, 0};
        }
    }
}

struct aliases *aliases_parse(struct slice text, aliases_local_fn *is_local, void *local_arg, aliases_fault_fn *fault,
                              void *fault_arg)
{
    struct aliases *aliases = mem_alloc(sizeof *aliases);
    struct parse parse = {aliases, is_local, local_arg, fault, fault_arg, false};
    struct alias *alias, *next;
    read_lines(&parse, text);
    HASH_ITER(hh, aliases->table, alias, next)
        link_targets(&parse, alias);
    struct frame *stack = mem_alloc((aliases->count + 1) * sizeof *stack);
    HASH_ITER(hh, aliases->table, alias, next)
        find_loops(&parse, alias, stack);
    free(stack);
    if (parse.has_faults)
        aliases_destroy(&aliases);
    return aliases;
}

void aliases_destroy(struct aliases **aliases)
{
    struct alias *alias, *next;
    if (!*aliases)
        return;
    HASH_ITER(hh, (*aliases)->table, alias, next) {
        HASH_DEL((*aliases)->table, alias);
        free(alias->name);
        free(alias);
    }
    arena_finish(&(*aliases)->arena);
    free(*aliases);
    *aliases = NULL;
}

size_t aliases_count(const struct aliases *aliases)
{
    return aliases ? aliases->count : 0;
}

/* ---- expansion ---- */

struct seen { struct seen *next; struct slice text; UT_hash_handle hh; };

struct expansion {
    struct arena *arena;
    struct slice domain;       /* of bare targets */
    struct seen *seen;
    struct address *found;
    size_t count, capacity;
};

static void add_found(struct expansion *to, struct address address)
{
    struct seen *seen;
    address_qualify(to->arena, to->domain, &address);
    HASH_FIND(hh, to->seen, address.text.data, address.text.size, seen);
    if (seen || to->count == TARGETS_MAX)
        return;
    seen = arena_alloc(to->arena, sizeof *seen);
    seen->text = address.text;
    HASH_ADD_KEYPTR(hh, to->seen, seen->text.data, seen->text.size, seen);
    if (to->count == to->capacity) {
        size_t capacity = to->capacity ? 2 * to->capacity : 4;
        to->found = arena_grow(to->arena, to->found, to->count, capacity, sizeof *to->found);
        to->capacity = capacity;
    }
    to->found[to->count++] = address;
}

bool aliases_expand(struct arena *arena, const struct aliases *aliases, const struct address *address,
                    struct address **ret_addresses, size_t *ret_count)
{
    struct expansion to = {.arena = arena, .domain = address->domain};
    struct alias *alias = aliases ? find(aliases, address->local) : NULL;
    if (!alias)
        return false;
    /* Each alias is walked once, however many lead to it. */
    bool *is_walked = mem_alloc(aliases->count * sizeof *is_walked);
    struct frame *stack = mem_alloc((aliases->count + 1) * sizeof *stack);
    size_t depth = 0;
    stack[depth++] = (struct frame){alias, 0};
    is_walked[alias->number] = true;
    while (depth) {
        struct frame *top = &stack[depth - 1];
        if (top->next == top->alias->count) {
            depth--;
            continue;
        }
        const struct target *target = &top->alias->targets[top->next++];
        if (!target->alias) {
            add_found(&to, target->address);
        } else if (!is_walked[target->alias->number]) {
            is_walked[target->alias->number] = true;
            stack[depth++] = (struct frame){target->alias, 0};
        }
    }
    free(stack);
    free(is_walked);
    HASH_CLEAR(hh, to.seen);
    *ret_addresses = to.found;
    *ret_count = to.count;
    return true;
}
