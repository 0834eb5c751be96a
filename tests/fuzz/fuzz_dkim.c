/* A key's record, a line end, a message: every field of it is read as a signature and tried with that key. What can be read has
 * a verdict, what passes has no reason against it, and a name for DNS is ASCII. */
#include "message/dkim_verify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum dkim_kind kind_of(struct slice name)
{
    return slice_equals_nocase(name, SLICE("ARC-Message-Signature")) ? DKIM_ARC_MESSAGE
           : slice_equals_nocase(name, SLICE("ARC-Seal"))            ? DKIM_ARC_SEAL
                                                                     : DKIM_SIGNATURE;
}

static void try_field(struct arena *arena, struct slice message, const struct header *header, const struct header_field *field,
                      struct slice key)
{
    char name[DKIM_KEY_NAME_SIZE];
    struct dkim_signature signature;
    if (!dkim_read(arena, field, kind_of(field->name), 1000000000000, &signature)) {
        CHECK(signature.result != DKIM_NONE && signature.result != DKIM_PASS && signature.reason);
        return;
    }
    dkim_key_name(&signature, name);
    CHECK(strlen(name) > strlen("._domainkey.") && !slice_has_8bit(slice_of(name)));
    if (signature.kind == DKIM_ARC_SEAL) {
        struct buf bytes = {0};
        dkim_canon_unsigned(DKIM_RELAXED, field->raw, &bytes);
        CHECK(bytes.size <= field->raw.size + 2 && slice_find_byte(buf_slice(&bytes), '\n') < 0);
        dkim_verify_bytes(arena, buf_slice(&bytes), &key, 1, &signature);
        buf_finish(&bytes);
    } else {
        dkim_verify(arena, message, header, &key, 1, &signature);
    }
    CHECK(signature.result != DKIM_NONE && (signature.result == DKIM_PASS) == (signature.reason == NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = {0};
    struct slice message = slice_make((const char *)data, size);
    struct slice key = slice_cut(&message, '\n');
    struct header_limits limits = {64 * 1024, 1000};
    struct header header;
    struct error error;
    if (header_scan(&arena, message, &limits, &header, &error))
        for (size_t i = 0; i < header.count && i < 20; i++)
            try_field(&arena, message, &header, &header.fields[i], key);
    arena_finish(&arena);
    return 0;
}
