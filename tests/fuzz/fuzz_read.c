/* Any bytes as a message: every text that is read out of it is well-formed UTF-8. */
#include "message/read.h"

#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = {0};
    struct read_message read;
    struct error error;
    if (read_message(&arena, slice_make((const char *)data, size), &read, &error)) {
        CHECK(utf8_is_valid(read.subject) && utf8_is_valid(read.plain) && utf8_is_valid(read.html));
        for (size_t i = 0; i < read.file_count; i++)
            CHECK(utf8_is_valid(read.files[i].name));
        for (size_t i = 0; i < read.person_count; i++)
            CHECK(utf8_is_valid(read.people[i].name));
    }
    arena_finish(&arena);
    return 0;
}
