/* DKIM verification against messages that others signed (tests/corpora/dkim), and each rule of message/dkim_verify.h. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "message/dkim_verify.h"

#include <dirent.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

enum { RESULTS_MAX = 10, RECORDS_MAX = 10 };

struct record { char name[256]; char text[2048]; };
struct records { struct record items[RECORDS_MAX]; size_t count; };
struct verdicts { enum dkim_result items[RESULTS_MAX]; bool is_partial[RESULTS_MAX]; size_t count; };

/* ---- files ---- */

static struct slice read_file(struct arena *arena, const char *folder, const char *name, const char *ending)
{
    char path[4096];
    struct buf text = {0};
    int c, before = 0;
    (void)snprintf(path, sizeof path, "%s/dkim/%s/%s%s", getenv("CORPUS"), folder, name, ending);
    FILE *file = fopen(path, "r");
    if (!file)
        fail_msg("%s is missing", path);
    for (; (c = fgetc(file)) != EOF; before = c) {
        if (c == '\n' && before != '\r')
            buf_append_byte(&text, '\r');
        buf_append_byte(&text, (char)c);
    }
    fclose(file);
    struct slice copy = arena_copy(arena, buf_slice(&text));
    buf_finish(&text);
    return copy;
}

/* chasquid's files may be one line that names another one. */
static struct slice read_case(struct arena *arena, const char *name, const char *ending)
{
    struct slice text = read_file(arena, "chasquid", name, ending);
    if (text.size > 100 || !slice_ends_nocase(slice_trim(text), slice_of(ending)))
        return text;
    return read_file(arena, "chasquid", arena_text(arena, slice_trim(text)), "");
}

static void add_record(struct records *records, struct slice name, struct slice text)
{
    assert_true(records->count < RECORDS_MAX);
    struct record *record = &records->items[records->count++];
    (void)snprintf(record->name, sizeof record->name, "%.*s", SLICE_FMT(name));
    (void)snprintf(record->text, sizeof record->text, "%.*s", SLICE_FMT(text));
}

/* "name: text", a backslash at a line's end goes on with the next. */
static void read_records(struct arena *arena, struct slice text, struct records *records)
{
    char *line = arena_alloc(arena, text.size + 1);
    size_t size = 0;
    while (text.size) {
        struct slice part = slice_trim(slice_cut(&text, '\n'));
        bool is_continued = part.size && part.data[part.size - 1] == '\\';
        memcpy(line + size, part.data, part.size - is_continued);
        size += part.size - is_continued;
        if (is_continued)
            continue;
        struct slice rest = slice_make(line, size), name = slice_cut(&rest, ':');
        if (rest.size)
            add_record(records, name, slice_trim(rest));
        size = 0;
    }
}

/* ---- verdicts ---- */

static void verify_one(struct arena *arena, struct slice message, const struct header *header, const struct records *records,
                       struct dkim_signature *signature)
{
    char name[DKIM_KEY_NAME_SIZE];
    struct slice keys[RECORDS_MAX];
    size_t count = 0;
    dkim_key_name(signature, name);
    for (size_t i = 0; i < records->count; i++) {
        if (strcmp(records->items[i].name, name) != 0 || strcmp(records->items[i].text, "PERMERROR") == 0)
            continue;
        if (strcmp(records->items[i].text, "TEMPERROR") == 0) {
            signature->result = DKIM_TEMPERROR; /* the caller's */
            return;
        }
        keys[count++] = slice_of(records->items[i].text);
    }
    dkim_verify(arena, message, header, keys, count, signature);
}

static void verify(struct arena *arena, struct slice message, const struct records *records, int64_t now_ms,
                   struct verdicts *ret_verdicts)
{
    struct header_limits limits = {1000000, 1000};
    struct header header;
    struct error error;
    *ret_verdicts = (struct verdicts){.count = 0};
    if (!header_scan(arena, message, &limits, &header, &error))
        return;
    for (size_t i = 0; i < header.count && ret_verdicts->count < DKIM_SIGNATURES_MAX; i++) {
        struct dkim_signature signature;
        if (!slice_equals_nocase(header.fields[i].name, SLICE("DKIM-Signature")))
            continue;
        if (dkim_read(arena, &header.fields[i], DKIM_SIGNATURE, now_ms, &signature))
            verify_one(arena, message, &header, records, &signature);
        ret_verdicts->is_partial[ret_verdicts->count] = signature.is_partial;
        ret_verdicts->items[ret_verdicts->count++] = signature.result;
    }
}

static enum dkim_result verdict_named(const char *name)
{
    return strcmp(name, "SUCCESS") == 0 ? DKIM_PASS : strcmp(name, "TEMPFAIL") == 0 ? DKIM_TEMPERROR : DKIM_PERMERROR;
}

static void check_case(struct arena *arena, const char *name)
{
    struct records records = {.count = 0};
    struct verdicts verdicts;
    struct slice wanted = read_case(arena, name, ".result");
    json_t *result = json_loadb(wanted.data, wanted.size, 0, NULL);
    json_t *rows = json_object_get(result, "Results");
    if (!slice_starts(slice_of(name), SLICE("04"))) /* its signature is none: no key is asked for */
        read_records(arena, read_case(arena, name, ".dns"), &records);
    verify(arena, read_case(arena, name, ".msg"), &records, 1700000000000, &verdicts);
    assert_int_equal(verdicts.count, json_array_size(rows));
    for (size_t i = 0; i < verdicts.count; i++) {
        enum dkim_result is = verdicts.items[i] == DKIM_FAIL ? DKIM_PERMERROR : verdicts.items[i];
        const char *state = json_string_value(json_object_get(json_array_get(rows, i), "State"));
        if (is != verdict_named(state))
            fail_msg("%s: signature %zu: %s instead of %s", name, i, dkim_result_name(is), state);
    }
    json_decref(result);
}

static void chasquid_s_verdicts_hold(void **state)
{
    static const char *const names[] = {"01-rfc8463", "02-too_many_headers", "04-bad_dkim_signature_header", "05-dns_temp_error",
                                        "06-dns_perm_error", "07-algo_mismatch", "08-our_signature", "09-limited_body",
                                        "10-strict_domain_check_pass", "11-strict_domain_check_fail"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct arena arena = {0};
        check_case(&arena, names[i]);
        arena_finish(&arena);
    }
}

static void V3_what_l_leaves_out_is_known(void **state)
{
    struct arena arena = {0};
    struct records records = {.count = 0};
    struct verdicts verdicts;
    (void)state;
    read_records(&arena, read_case(&arena, "09-limited_body", ".dns"), &records);
    verify(&arena, read_case(&arena, "09-limited_body", ".msg"), &records, 0, &verdicts);
    assert_true(verdicts.is_partial[0] && !verdicts.is_partial[1]);
    arena_finish(&arena);
}

/* Keys of RFC 6376 C and RFC 8463 A.2. */
static const struct records rfc_keys = {{
    {"brisbane._domainkey.example.com",
     "v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYtIxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq63"
     "1uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhitdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB"},
    {"brisbane._domainkey.football.example.com", "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="},
    {"test._domainkey.football.example.com",
     "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzC"
     "Nb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB"},
}, 3};

static void the_rfcs_examples_and_their_mutilated_copies(void **state)
{
    static const struct { const char *file; enum dkim_result first, second; } rows[] = {
        {"rfc6376-A.2", DKIM_PASS, DKIM_NONE},
        {"rfc6376-A.2-body_modified", DKIM_FAIL, DKIM_NONE},
        {"rfc6376-A.2-header_subject_modified", DKIM_FAIL, DKIM_NONE},
        {"rfc6376-A.2-ill_formed-list_id", DKIM_PASS, DKIM_NONE},
        {"rfc6376-A.2-ill_formed-missing_v", DKIM_PERMERROR, DKIM_NONE},
        {"rfc8463-A.3", DKIM_PASS, DKIM_PASS},
        {"rfc8463-A.3-key_algo_mismatch", DKIM_PERMERROR, DKIM_PERMERROR},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena arena = {0};
        struct verdicts verdicts;
        verify(&arena, read_file(&arena, "lieser", rows[i].file, ".eml"), &rfc_keys, 0, &verdicts);
        assert_int_equal(verdicts.items[0], rows[i].first);
        assert_int_equal(verdicts.items[1], rows[i].second);
        arena_finish(&arena);
    }
}

static void mail_auth_s_messages_pass(void **state)
{
    static const char *const names[] = {"001", "002", "003"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct arena arena = {0};
        struct records records = {.count = 0};
        struct verdicts verdicts;
        struct slice text = read_file(&arena, "mail-auth", names[i], ".txt");
        while (text.size) {
            struct slice line = slice_trim(slice_cut(&text, '\n')), name = slice_cut(&line, ' ');
            if (name.size == 0)
                break;
            add_record(&records, name, line);
        }
        verify(&arena, text, &records, 0, &verdicts);
        assert_true(verdicts.count > 0);
        for (size_t k = 0; k < verdicts.count; k++)
            assert_int_equal(verdicts.items[k], DKIM_PASS);
        arena_finish(&arena);
    }
}

/* ---- rules, on a signature of our own ---- */

#define BODY "one  two \r\n\r\n\r\n"
#define HASH "bh=%s; "

/* `%s`: the body's hash. */
static const struct { const char *tags; enum dkim_result result; } tag_rows[] = {
    {"v=1; a=rsa-sha256; d=x.test; s=s; h=From; " HASH "b=AAAA", DKIM_NONE},
    {"v=1; a=RSA-SHA256; c=Relaxed/Simple; d=X.Test; s=s; h=from; " HASH "b=AAAA;", DKIM_NONE},
    {"v=2; a=rsa-sha256; d=x.test; s=s; h=From; " HASH "b=AAAA", DKIM_PERMERROR},
    {"v=1; a=rsa-sha1; d=x.test; s=s; h=From; " HASH "b=AAAA", DKIM_PERMERROR},
    {"v=1; a=ed448; d=x.test; s=s; h=From; " HASH "b=AAAA", DKIM_PERMERROR},
    {"v=1; d=x.test; s=s; h=From; " HASH "b=AAAA", DKIM_PERMERROR},
    {"v=1; a=rsa-sha256; d=test; s=s; h=From; " HASH "b=AAAA", DKIM_PERMERROR},
    {"v=1; a=rsa-sha256; d=x..test; s=s; h=From; " HASH "b=AAAA", DKIM_PERMERROR},
    {"v=1; a=rsa-sha256; d=x.test; h=From; " HASH "b=AAAA", DKIM_PERMERROR},
    {"v=1; a=rsa-sha256; d=x.test; s=s t; h=From; " HASH "b=AAAA", DKIM_PERMERROR},
    {"v=1; a=rsa-sha256; d=x.test; s=s; h=To; " HASH "b=AAAA", DKIM_PERMERROR},
    {"v=1; a=rsa-sha256; d=x.test; s=s; h=From::To; " HASH "b=AAAA", DKIM_PERMERROR},
    {"v=1; a=rsa-sha256; d=x.test; s=s; " HASH "b=AAAA", DKIM_PERMERROR},
    {"v=1; a=rsa-sha256; d=x.test; s=s; h=From; " HASH, DKIM_PERMERROR},
    {"v=1; a=rsa-sha256; d=x.test; s=s; h=From; " HASH "b=AA=A", DKIM_PERMERROR},
    {"v=1; a=rsa-sha256; d=x.test; s=s; h=From; bh=AAAA; b=AAAA", DKIM_PERMERROR},
    {"v=1; a=rsa-sha256; d=x.test; s=s; s=t; h=From; " HASH "b=AAAA", DKIM_PERMERROR},
    {"v=1; a=rsa-sha256; c=plain; d=x.test; s=s; h=From; " HASH "b=AAAA", DKIM_PERMERROR},
    {"v=1; a=rsa-sha256; d=x.test; s=s; i=@y.test; h=From; " HASH "b=AAAA", DKIM_PERMERROR},
    {"v=1; a=rsa-sha256; d=x.test; s=s; i=@notx.test; h=From; " HASH "b=AAAA", DKIM_PERMERROR},
    {"v=1; a=rsa-sha256; d=x.test; s=s; i=a@y.x.test; h=From; " HASH "b=AAAA", DKIM_NONE},
    {"v=1; a=rsa-sha256; d=x.test; s=s; q=http; h=From; " HASH "b=AAAA", DKIM_PERMERROR},
    {"v=1; a=rsa-sha256; d=x.test; s=s; l=-1; h=From; " HASH "b=AAAA", DKIM_PERMERROR},
    {"v=1; a=rsa-sha256; d=x.test; s=s; t=100; x=99; h=From; " HASH "b=AAAA", DKIM_PERMERROR},
    {"v=1; a=rsa-sha256; d=x.test; s=s; t=100; x=1999; h=From; " HASH "b=AAAA", DKIM_FAIL},
    {"v=1; a=rsa-sha256; d=x.test; s=s; t=100; x=2000; h=From; " HASH "b=AAAA", DKIM_NONE},
    {"v=1; a=rsa-sha256; d=b\xc3\xbc" "cher.test; s=s; h=From; " HASH "b=AAAA", DKIM_NONE},
    {"nonsense", DKIM_PERMERROR},
    {"", DKIM_PERMERROR},
};

static void V1_V2_the_syntax(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof tag_rows / sizeof *tag_rows; i++) {
        struct arena arena = {0};
        struct dkim_signature signature;
        struct slice value = arena_printf(&arena, tag_rows[i].tags, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
        struct header_field field = {SLICE("DKIM-Signature"), value, value, 1};
        bool is_read = dkim_read(&arena, &field, DKIM_SIGNATURE, 2000 * 1000, &signature);
        if (signature.result != tag_rows[i].result || is_read != (tag_rows[i].result == DKIM_NONE))
            fail_msg("%s: %s (%s)", tag_rows[i].tags, dkim_result_name(signature.result), signature.reason);
        if (slice_has_8bit(slice_of(tag_rows[i].tags)))
            assert_true(slice_equals(signature.domain, SLICE("xn--bcher-kva.test"))); /* V6 */
        arena_finish(&arena);
    }
}

/* Signs with a new key of that kind; the message and "p=…" of its record. */
static struct slice sign(struct arena *arena, const char *kind, size_t bits, struct slice *ret_key)
{
    static const struct slice message = {"From: a@x.test\r\nSubject:  hi \r\n\r\n" BODY, 31 + 2 + sizeof BODY - 1};
    struct dkim_key key = {SLICE("x.test"), SLICE("s"), bits ? EVP_PKEY_Q_keygen(NULL, NULL, kind, bits)
                                                             : EVP_PKEY_Q_keygen(NULL, NULL, kind)};
    struct buf out = {0}, record = {0};
    struct error error;
    assert_true(dkim_sign(arena, message, &key, 1, 1000, &out, &error));
    assert_true(dkim_record(key.key, &record, &error));
    buf_append(&out, message);
    struct slice text = arena_copy(arena, buf_slice(&record));
    *ret_key = slice_from(text, (size_t)slice_find(text, SLICE("p=")));
    struct slice copy = arena_copy(arena, buf_slice(&out));
    buf_finish(&out);
    buf_finish(&record);
    EVP_PKEY_free(key.key);
    return copy;
}

static const struct { const char *record; enum dkim_result result; } key_rows[] = {
    {"v=DKIM1; k=rsa; %s", DKIM_PASS},           {"%s", DKIM_PASS},
    {"k=rsa; h=sha1:sha256; s=*; t=y; %s", DKIM_PASS}, {"s=email:other; %s", DKIM_PASS},
    {"t=s; %s", DKIM_PASS},                      {"v=DKIM2; %s", DKIM_PERMERROR},
    {"k=rsa; v=DKIM1; %s", DKIM_PERMERROR},      {"k=ed25519; %s", DKIM_PERMERROR},
    {"h=sha1; %s", DKIM_PERMERROR},              {"s=web; %s", DKIM_PERMERROR},
    {"v=DKIM1; p=", DKIM_PERMERROR},             {"v=DKIM1", DKIM_PERMERROR},
    {"v=DKIM1; p=AAAA", DKIM_PERMERROR},         {"hello", DKIM_PERMERROR},
};

static void the_key_s_record(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct slice key, message = sign(&arena, "RSA", 2048, &key);
    for (size_t i = 0; i < sizeof key_rows / sizeof *key_rows; i++) {
        struct records records = {.count = 0};
        struct verdicts verdicts;
        add_record(&records, SLICE("s._domainkey.x.test"), arena_printf(&arena, key_rows[i].record, arena_text(&arena, key)));
        verify(&arena, message, &records, 1000, &verdicts);
        if (verdicts.items[0] != key_rows[i].result)
            fail_msg("%s: %s", key_rows[i].record, dkim_result_name(verdicts.items[0]));
    }
    arena_finish(&arena);
}

static void what_we_sign_passes_and_no_changed_octet_does(void **state)
{
    static const char *const kinds[] = {"RSA", "ED25519"};
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        struct arena arena = {0};
        struct records records = {.count = 0};
        struct verdicts verdicts;
        struct slice key, message = sign(&arena, kinds[k], k == 0 ? 2048 : 0, &key);
        add_record(&records, SLICE("s._domainkey.x.test"), arena_printf(&arena, "k=%s; %.*s", k ? "ed25519" : "rsa", SLICE_FMT(key)));
        verify(&arena, message, &records, 1000, &verdicts);
        assert_int_equal(verdicts.items[0], DKIM_PASS);
        char *copy = arena_text(&arena, message);
        for (size_t i = 0; i < message.size; i++) {
            bool is_before_padding = i + 1 < message.size && message.data[i + 1] == '=';
            if (message.data[i] <= ' ' || is_before_padding)
                continue; /* blanks are relaxed; base64's last letter has bits that count for nothing */
            copy[i] = message.data[i] == 'z' ? 'q' : 'z';
            verify(&arena, slice_make(copy, message.size), &records, 1000, &verdicts);
            if (verdicts.count && verdicts.items[0] == DKIM_PASS)
                fail_msg("octet %zu, '%c', can be changed", i, message.data[i]);
            copy[i] = message.data[i];
        }
        arena_finish(&arena);
    }
}

static void V2_a_short_rsa_key(void **state)
{
    struct arena arena = {0};
    struct records records = {.count = 0};
    struct verdicts verdicts;
    struct slice key, message = sign(&arena, "RSA", 768, &key);
    (void)state;
    add_record(&records, SLICE("s._domainkey.x.test"), key);
    verify(&arena, message, &records, 1000, &verdicts);
    assert_int_equal(verdicts.items[0], DKIM_PERMERROR);
    arena_finish(&arena);
}

/* ---- canonical forms: RFC 6376 3.4.5 and its neighbours ---- */

static void gather(void *arg, struct slice bytes) { buf_append(arg, bytes); }

static void canonical_forms(void **state)
{
    static const struct { enum dkim_canon canon; const char *body, *form; } bodies[] = {
        {DKIM_RELAXED, " C \r\nD \t E\r\n\r\n\r\n", " C\r\nD E\r\n"},
        {DKIM_SIMPLE, " C \r\nD \t E\r\n\r\n\r\n", " C \r\nD \t E\r\n"},
        {DKIM_RELAXED, "", ""},
        {DKIM_SIMPLE, "", "\r\n"},
        {DKIM_RELAXED, "\r\n \r\n", ""},
        {DKIM_SIMPLE, "\r\n \r\n", "\r\n \r\n"},
        {DKIM_RELAXED, "a\r\n\r\n\t\r\nb", "a\r\n\r\n\r\nb\r\n"},
        {DKIM_SIMPLE, "b", "b\r\n"},
    };
    static const struct { enum dkim_canon canon; const char *raw, *form; } fields[] = {
        {DKIM_RELAXED, "A: X\r\n", "a:X\r\n"},
        {DKIM_RELAXED, "B : Y\t\r\n\tZ  \r\n", "b:Y Z\r\n"},
        {DKIM_SIMPLE, "B : Y\t\r\n\tZ  \r\n", "B : Y\t\r\n\tZ  \r\n"},
        {DKIM_RELAXED, "C:\r\n", "c:\r\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        struct buf out = {0};
        dkim_canon_body(bodies[i].canon, slice_of(bodies[i].body), gather, &out);
        assert_string_equal(buf_text(&out), bodies[i].form);
        buf_finish(&out);
    }
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        struct buf out = {0};
        dkim_canon_field(fields[i].canon, slice_of(fields[i].raw), &out);
        assert_string_equal(buf_text(&out), fields[i].form);
        buf_finish(&out);
    }
}

/* Once it took the square of their number. */
static void many_empty_lines_cost_no_more_than_others(void **state)
{
    struct buf body = {0}, out = {0};
    (void)state;
    for (size_t i = 0; i < 4000000; i++)
        buf_append_text(&body, "\r\n");
    buf_append_text(&body, "x");
    dkim_canon_body(DKIM_RELAXED, buf_slice(&body), gather, &out);
    assert_int_equal(out.size, body.size + 2);
    buf_finish(&body);
    buf_finish(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chasquid_s_verdicts_hold),     cmocka_unit_test(V3_what_l_leaves_out_is_known),
        cmocka_unit_test(the_rfcs_examples_and_their_mutilated_copies), cmocka_unit_test(mail_auth_s_messages_pass),
        cmocka_unit_test(V1_V2_the_syntax),             cmocka_unit_test(the_key_s_record),
        cmocka_unit_test(what_we_sign_passes_and_no_changed_octet_does), cmocka_unit_test(V2_a_short_rsa_key),
        cmocka_unit_test(canonical_forms),              cmocka_unit_test(many_empty_lines_cost_no_more_than_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
