/* A JSON post to a form: what is taken is within the limits, well-formed, and fills subject and text. */
#include "web/endpoint.c"

#include "base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct config_form form = {.name = (char *)(uintptr_t) "f", .files_max = 1};
    struct arena arena = {0};
    struct error error = {{0}};
    struct request request = {.method = SLICE("POST")};
    struct posting posting = {.form = &form, .request = &request, .arena = &arena, .is_json = true};
    struct results results;
    buf_append(&request.body, slice_make((const char *)data, size));
    if (read_json(&posting, &error) == FORM_DONE) {
        CHECK(posting.body.count <= FORM_FIELDS_MAX);
        for (size_t i = 0; i < posting.body.count; i++)
            CHECK(utf8_is_valid(posting.body.fields[i].name) && utf8_is_valid(posting.body.fields[i].value));
        (void)!check_fields(&posting, &error);
        gather_fields(&posting, &results);
        CHECK(results.count <= posting.body.count);
        (void)fill(&posting, "A {name} {fields} {", SLICE("all"));
    } else {
        CHECK(error.text[0]);
    }
    buf_finish(&request.body);
    arena_finish(&arena);
    return 0;
}
