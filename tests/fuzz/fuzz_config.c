/* A config file of any bytes is read or refused with a line. */
#include "config/parse.h"

#include "base/slice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_setting(void *arg, const char *name, size_t line, struct slice text)
{
    (void)text;
    CHECK(arg && name[0] && line > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error error = {{0}};
    if (!config_parse(slice_make((const char *)data, size), on_setting, NULL, &error, &error))
        CHECK(error.text[0]);
    return 0;
}
