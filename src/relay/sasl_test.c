/* The rules of relay/sasl.h. What a server says to real exchanges is seen by tests/program/test_auth.py. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "relay/sasl.h"

#include <gsasl.h>

static const struct sasl_identity with_password = {.user = "me", .password = "secret", .host = "h.test", .port = 587};
static const struct sasl_identity with_token = {.user = "m=e,x", .token = "tok", .host = "h.test", .port = 587};
static const struct sasl_identity with_certificate = {.has_certificate = true, .host = "h.test"};
static char plain[] = "PLAIN", external[] = "EXTERNAL", login[] = "LOGIN";
static char *only_plain[] = {plain}, *only_external[] = {external}, *weak[] = {login, plain};

static void A1_the_strongest_that_both_can_do(void **state)
{
    static const struct config_list all = {NULL, 0}, one = {only_plain, 1}, certificate = {only_external, 1}, two = {weak, 2};
    static const struct {
        const char *offered;
        const struct config_list *allowed;
        const struct sasl_identity *identity;
        const char *chosen;
    } cases[] = {
        {"LOGIN PLAIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256", &all, &with_password, "SCRAM-SHA-256"},
        {"login plain scram-sha-1", &all, &with_password, "SCRAM-SHA-1"},
        {"LOGIN CRAM-MD5", &all, &with_password, "CRAM-MD5"},
        {"LOGIN  PLAIN", &all, &with_password, "PLAIN"},
        {"SCRAM-SHA-256 PLAIN", &one, &with_password, "PLAIN"},
        {"SCRAM-SHA-256", &one, &with_password, NULL},
        {"LOGIN PLAIN", &two, &with_password, "PLAIN"},
        {"LOGIN XOAUTH2", &all, &with_token, "XOAUTH2"},
        {"XOAUTH2 OAUTHBEARER PLAIN", &all, &with_token, "OAUTHBEARER"},
        {"PLAIN LOGIN", &all, &with_token, NULL},
        {"XOAUTH2", &all, &with_password, NULL},
        {"EXTERNAL", &all, &with_certificate, NULL},
        {"PLAIN EXTERNAL", &certificate, &with_certificate, "EXTERNAL"},
        {"EXTERNAL", &certificate, &with_password, NULL},
        {"GSSAPI NTLM PLAINX", &all, &with_password, NULL},
        {"", &all, &with_password, NULL},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const char *chosen = sasl_choose(slice_of(cases[i].offered), cases[i].allowed, cases[i].identity);
        if (cases[i].chosen)
            assert_string_equal(chosen, cases[i].chosen);
        else
            assert_null(chosen);
    }
    assert_true(sasl_strength("SCRAM-SHA-256") > sasl_strength("SCRAM-SHA-1"));
    assert_true(sasl_strength("SCRAM-SHA-1") > sasl_strength("PLAIN"));
}

/* The first response, decoded; absent if the server begins. */
static struct slice first_of(struct sasl **sasl, const char *mechanism, const struct sasl_identity *identity, struct buf *out)
{
    struct buf coded = {0};
    struct error error;
    bool has_first;
    char *text;
    size_t size;
    *sasl = sasl_begin(mechanism, identity, &coded, &has_first, &error);
    assert_non_null(*sasl);
    if (has_first) {
        assert_int_equal(gsasl_base64_from(coded.data, coded.size, &text, &size), GSASL_OK);
        buf_append(out, slice_make(text, size));
        gsasl_free(text);
    }
    buf_finish(&coded);
    return has_first ? buf_slice(out) : SLICE_NONE;
}

static void first_responses_are_those_of_the_standards(void **state)
{
    static const struct { const char *mechanism; const struct sasl_identity *identity; struct slice first; bool is_proved; } cases[] = {
        {"PLAIN", &with_password, {"\0me\0secret", 10}, true},
        {"LOGIN", &with_password, {NULL, 0}, false},
        {"CRAM-MD5", &with_password, {NULL, 0}, false},
        {"XOAUTH2", &with_token, {"user=m=e,x\001auth=Bearer tok\001\001", 28}, true},
        {"OAUTHBEARER", &with_token, {"n,a=m=3De=2Cx,\001host=h.test\001port=587\001auth=Bearer tok\001\001", 53}, true},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buf out = {0};
        struct sasl *sasl;
        struct slice first = first_of(&sasl, cases[i].mechanism, cases[i].identity, &out);
        assert_true(slice_is_absent(first) == slice_is_absent(cases[i].first));
        if (!slice_is_absent(first))
            assert_true(slice_equals(first, cases[i].first));
        assert_int_equal(sasl_is_proved(sasl), cases[i].is_proved);
        sasl_end(&sasl);
        buf_finish(&out);
    }
}

static bool step(struct sasl *sasl, const char *challenge, struct buf *out, struct error *error)
{
    char *coded;
    bool is_fine;
    assert_int_equal(gsasl_base64_to(challenge, strlen(challenge), &coded, NULL), GSASL_OK);
    is_fine = sasl_step(sasl, slice_of(coded), out, error);
    gsasl_free(coded);
    return is_fine;
}

/* RFC 2195 2, with its user and password. */
static void cram_md5_has_the_answer_of_its_rfc(void **state)
{
    static const struct sasl_identity tim = {.user = "tim", .password = "tanstaaftanstaaf", .host = "h.test"};
    (void)state;
    struct buf out = {0};
    struct error error;
    struct sasl *sasl;
    (void)first_of(&sasl, "CRAM-MD5", &tim, &out);
    assert_true(step(sasl, "<1896.697170952@postoffice.reston.mci.net>", &out, &error));
    assert_string_equal(buf_text(&out), "dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw");
    assert_true(sasl_is_proved(sasl));
    sasl_end(&sasl);
    buf_finish(&out);
}

static void A2_A3_a_scram_server_proves_itself_and_is_cheap(void **state)
{
    static const struct { const char *rest; const char *said; } cases[] = {
        {"abc,s=QSXCR+Q6sek8bf92,i=1000001", "rounds"},
        {"abc,s=QSXCR+Q6sek8bf92,i=99999999999999999999", ""},
        {"abc,s=QSXCR+Q6sek8bf92,i=4096", NULL},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buf first = {0}, out = {0}, challenge = {0};
        struct error error;
        struct sasl *sasl;
        struct slice nonce = first_of(&sasl, "SCRAM-SHA-256", &with_password, &first);
        ptrdiff_t at = slice_find(nonce, SLICE("r="));
        assert_true(at > 0);
        buf_append(&challenge, slice_from(nonce, (size_t)at));
        buf_append_text(&challenge, cases[i].rest);
        bool is_fine = step(sasl, buf_text(&challenge), &out, &error);
        assert_int_equal(is_fine, cases[i].said == NULL);
        if (cases[i].said)
            assert_non_null(strstr(error.text, cases[i].said));
        assert_false(sasl_is_proved(sasl)); /* a 235 now is a lie */
        if (is_fine)
            assert_false(step(sasl, "v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", &out, &error));
        assert_false(sasl_is_proved(sasl));
        sasl_end(&sasl);
        buf_finish(&first);
        buf_finish(&out);
        buf_finish(&challenge);
    }
}

static void an_oauth_challenge_is_a_complaint(void **state)
{
    (void)state;
    struct buf out = {0};
    struct error error;
    struct sasl *sasl;
    (void)first_of(&sasl, "OAUTHBEARER", &with_token, &out);
    assert_null(sasl_complaint(sasl));
    buf_clear(&out);
    assert_true(step(sasl, "{\"status\":\"401\"}\n", &out, &error));
    assert_string_equal(buf_text(&out), "AQ==");
    assert_string_equal(sasl_complaint(sasl), "{\"status\":\"401\"} ");
    assert_false(sasl_is_proved(sasl));
    sasl_end(&sasl);
    buf_finish(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(A1_the_strongest_that_both_can_do),
        cmocka_unit_test(first_responses_are_those_of_the_standards),
        cmocka_unit_test(cram_md5_has_the_answer_of_its_rfc),
        cmocka_unit_test(A2_A3_a_scram_server_proves_itself_and_is_cheap),
        cmocka_unit_test(an_oauth_challenge_is_a_complaint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
