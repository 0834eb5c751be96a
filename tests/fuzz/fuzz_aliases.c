/* An aliases file of any bytes is read, or each mistake has a line; each alias ends, once for each address. */
#include "message/aliases.h"

#include "base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_local(void *arg, struct slice domain)
{
    (void)arg;
    return slice_equals_nocase(domain, SLICE("me.test"));
}

static void on_fault(void *arg, size_t line, const char *text)
{
    CHECK(line > 0 && text[0]);
    ++*(size_t *)arg;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t faults = 0, count;
    struct arena arena = {0};
    struct error error;
    struct address address, *found;
    struct slice text = slice_make((const char *)data, size), line = text;
    struct aliases *aliases = aliases_parse(text, is_local, NULL, on_fault, &faults);
    CHECK((aliases == NULL) == (faults > 0));
    struct slice name = slice_cut(&line, ':');
    if (aliases && address_parse(&arena, arena_printf(&arena, "%.*s@me.test", SLICE_FMT(name)), &address, &error)
        && aliases_expand(&arena, aliases, &address, &found, &count))
        for (size_t i = 0; i < count; i++)
            CHECK(found[i].text.size > 0);
    aliases_destroy(&aliases);
    arena_finish(&arena);
    return 0;
}
