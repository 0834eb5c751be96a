/* The rules of relay/oauth.h. Whole dialogs are in tests/program/test_auth.py. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "relay/oauth.h"

#include "config/secrets.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void B1_answers_are_what_the_standards_name(void **state)
{
    static const struct { int status; const char *body; enum oauth_verdict verdict; const char *said; } cases[] = {
        {200, "{\"access_token\":\"a\",\"expires_in\":10}", OAUTH_GRANTED, ""},
        {200, "{\"access_token\":\"a\",\"expires_in\":\"10\",\"refresh_token\":\"r\"}", OAUTH_GRANTED, ""},
        {200, "{\"access_token\":\"\"}", OAUTH_LATER, "without a token (HTTP 200)"},
        {200, "{\"access_token\":\"a\\r\\nAUTH\"}", OAUTH_LATER, "without a token"},
        {200, "not json", OAUTH_LATER, "without a token"},
        {200, "[]", OAUTH_LATER, "without a token"},
        {400, "{\"error\":\"invalid_grant\",\"error_description\":\"AADSTS70000: gone\\r\\nTrace ID: 1\"}", OAUTH_REFUSED,
         "invalid_grant: AADSTS70000: gone"},
        {401, "{\"error\":\"invalid_client\"}", OAUTH_REFUSED, "invalid_client"},
        {400, "{\"error\":\"authorization_pending\"}", OAUTH_PENDING, "authorization_pending"},
        {400, "{\"error\":\"slow_down\"}", OAUTH_SLOWER, "slow_down"},
        {400, "{\"error\":\"never heard of\"}", OAUTH_LATER, "never heard of"},
        {400, "{\"error\":7}", OAUTH_LATER, "HTTP 400"},
        {429, "{\"error\":\"too_many\"}", OAUTH_LATER, "too_many"},
        {500, "{\"error\":\"invalid_grant\"}", OAUTH_LATER, "invalid_grant"},
        {503, "<html>", OAUTH_LATER, "HTTP 503"},
        {0, "", OAUTH_LATER, "no answer: it is dark"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct oauth_answer answer;
        oauth_answer_read(cases[i].status, slice_of(cases[i].body), "it is dark", &answer);
        assert_int_equal(answer.verdict, cases[i].verdict);
        assert_int_equal(answer.access_token != NULL, cases[i].verdict == OAUTH_GRANTED);
        assert_non_null(strstr(answer.problem, cases[i].said));
        if (cases[i].verdict == OAUTH_GRANTED)
            assert_int_equal(answer.life_s, 10);
        assert_null(strpbrk(answer.problem, "\r\n"));
        oauth_answer_finish(&answer);
    }
}

static void forms_are_escaped_and_the_challenge_is_that_of_its_rfc(void **state)
{
    static const struct oauth_pair pairs[] = {{"a", NULL}, {"scope", "https://x/.default y"}, {"b", "&=+%\303\274"}};
    (void)state;
    struct buf out = {0};
    oauth_put_form(&out, pairs, COUNT_OF(pairs));
    assert_string_equal(buf_text(&out), "scope=https%3A%2F%2Fx%2F.default%20y&b=%26%3D%2B%25%C3%BC");
    buf_finish(&out);
    char *challenge = oauth_challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"); /* RFC 7636 B */
    assert_string_equal(challenge, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    free(challenge);
}

static void services_are_where_they_are(void **state)
{
    static char tenant[] = "contoso.com", file[] = "/t", url[] = "https://own.test/token";
    static const struct { struct config_oauth oauth; const char *token_url, *device_url, *scope; } cases[] = {
        {{.service = CONFIG_SERVICE_M365, .tenant = tenant, .token_file = file},
         "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/token", "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/devicecode",
         "https://outlook.office.com/SMTP.Send offline_access"},
        {{.service = CONFIG_SERVICE_M365, .tenant = tenant},
         "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/token", "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/devicecode",
         "https://outlook.office365.com/.default"},
        {{.service = CONFIG_SERVICE_GOOGLE, .token_file = file}, "https://oauth2.googleapis.com/token", NULL, "https://mail.google.com/"},
        {{.service = CONFIG_SERVICE_OTHER, .token_file = file, .token_url = url, .scope = tenant}, "https://own.test/token", NULL, "contoso.com"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct arena arena = {0};
        struct oauth_endpoints endpoints;
        oauth_endpoints(&arena, &cases[i].oauth, &endpoints);
        assert_string_equal(endpoints.token_url, cases[i].token_url);
        assert_string_equal(endpoints.scope, cases[i].scope);
        if (cases[i].device_url)
            assert_string_equal(endpoints.device_url, cases[i].device_url);
        else
            assert_null(endpoints.device_url);
        arena_finish(&arena);
    }
}

static void B3_the_file_is_private_and_newer_ones_stay(void **state)
{
    char folder[] = "/tmp/mailroot-oauth-XXXXXX", path[64], client[] = "c", other[] = "d";
    struct config_oauth oauth = {.client_id = client, .token_file = path}, stranger = {.client_id = other, .token_file = path};
    struct error error;
    struct stat is;
    bool is_newer;
    (void)state;
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/t.json", folder);
    assert_null(oauth_token_load(&oauth, &error));
    assert_true(oauth_token_save(&oauth, "one", NULL, &is_newer, &error));
    assert_int_equal(stat(path, &is), 0);
    assert_int_equal(is.st_mode & 0777, 0600);
    assert_true(oauth_token_save(&oauth, "two", "one", &is_newer, &error));
    assert_false(is_newer);
    assert_true(oauth_token_save(&oauth, "three", "one", &is_newer, &error)); /* somebody wrote "two" */
    assert_true(is_newer);
    char *token = oauth_token_load(&oauth, &error);
    assert_string_equal(token, "two");
    secret_free(token);
    assert_null(oauth_token_load(&stranger, &error));
    assert_non_null(strstr(error.text, "another oauth_client_id"));
    assert_int_equal(chmod(path, 0644), 0);
    assert_null(oauth_token_load(&oauth, &error));
    assert_non_null(strstr(error.text, "everybody can read"));
    assert_null(strstr(error.text, "two"));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(B1_answers_are_what_the_standards_name),
        cmocka_unit_test(forms_are_escaped_and_the_challenge_is_that_of_its_rfc),
        cmocka_unit_test(services_are_where_they_are),
        cmocka_unit_test(B3_the_file_is_private_and_newer_ones_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
