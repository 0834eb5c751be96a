/* M1 to M4. */
#include "route/sts_policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdlib.h>

static void m1_records(void **state)
{
    static const struct { const char *text, *id; } rows[] = {
        {"v=STSv1; id=20160831085700Z;", "20160831085700Z"}, {"v=STSv1;id=1", "1"}, {"v=STSv1; id = a ; x=y", "a"},
        {"v=STSv1 ; new=1; id=b;", "b"}, {"id=20180907T090909; v=STSv1;", NULL}, {"azazaza;asdasdasdasd", NULL},
        {"v=STSv12;id=20180907T090909;", NULL}, {"v=STSv1;", NULL}, {"v=STSv1; id=;", NULL}, {"v=STSv1; id=a-b", NULL},
        {"v=STSv1; id=1; id=2", NULL}, {"v=STSv1; id=123456789012345678901234567890123", NULL}, {"", NULL},
        {"V=stsv1; id=1", NULL}, {"v=STSv1; junk; id=1", NULL},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char id[STS_ID_SIZE] = "";
        bool is_fine = sts_record_parse(slice_of(rows[i].text), id);
        if (is_fine != (rows[i].id != NULL) || (is_fine && strcmp(id, rows[i].id) != 0))
            fail_msg("%s: %s", rows[i].text, is_fine ? id : "refused");
    }
}

static void m3_policies(void **state)
{
    static const struct { const char *text, *wrong; } rows[] = {
        {"version: STSv1\nmode: enforce\nmx: mail.loc\nmax_age: 86400", NULL},
        {"version: STSv1\r\nmode: testing\r\nmx: *.loc\r\nmax_age: 0\r\n", NULL},
        {"version: STSv1\nmode: none\nmax_age: 86400", NULL},
        {"version:STSv1\n\nmode:enforce\nmode: none\nfuture: x\nmx:a\nmx:b\nmax_age: 31557601\n", NULL},
        {"garbage", "name: value"}, {"", "version is missing"},
        {"version: STSv1\nmode: enforce\nmax_age: 86400", "no mx"},
        {"mode: enforce\nversion: STSv1\nmx: a.b\nmax_age: 1", "expected first"},
        {"version: STSv2\nmode: enforce\nmx: a.b\nmax_age: 1", "expected first"},
        {"version: STSv1\nmode: Enforce\nmx: a.b\nmax_age: 1", "mode"},
        {"version: STSv1\nmode: enforce\nmx: a.b", "max_age is missing"},
        {"version: STSv1\nmode: enforce\nmx: a.b\nmax_age: -1", "max_age"},
        {"version: STSv1\nmode: enforce\nmx: a.b\nmax_age: 99999999999", "max_age"},
        {"version: STSv1\nmode: enforce\nmx: a..b\nmax_age: 1", "mx"},
        {"version: STSv1\nmode: enforce\nmx: a.*.b\nmax_age: 1", "mx"},
        {"version: STSv1\nmode: enforce\nmx: a/b\nmax_age: 1", "mx"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct error error = {{0}};
        struct sts_policy *policy = sts_policy_parse(slice_of(rows[i].text), &error);
        if (!policy != !!rows[i].wrong || (rows[i].wrong && !strstr(error.text, rows[i].wrong)))
            fail_msg("%s: %s", rows[i].text, policy ? "taken" : error.text);
        sts_policy_release(&policy);
    }
}

static void m3_size_and_age(void **state)
{
    static char text[STS_TEXT_SIZE_MAX + 2];
    static const char head[] = "version: STSv1\nmode: enforce\nmx: a.b\nmax_age: 9999999999\n";
    struct error error;
    (void)state;
    memset(text, '\n', sizeof text);
    memcpy(text, head, sizeof head - 1);
    struct sts_policy *policy = sts_policy_parse(slice_make(text, STS_TEXT_SIZE_MAX), &error);
    assert_non_null(policy);
    assert_int_equal(policy->max_age_s, STS_MAX_AGE_MAX_S);
    sts_policy_release(&policy);
    assert_null(sts_policy_parse(slice_make(text, STS_TEXT_SIZE_MAX + 1), &error));
}

static void m4_matching(void **state)
{
    static const struct { const char *host; bool is_listed; } rows[] = {
        {"mail.example.com", true}, {"MAIL.example.COM", true}, {"a.b.test", true}, {"x.a.b.test", false},
        {"b.test", false}, {"evilb.test", false}, {"example.com", false}, {".b.test", false}, {"", false},
        {"mail.example.com.evil.test", false},
    };
    struct error error;
    (void)state;
    struct sts_policy *policy = sts_policy_parse(
        SLICE("version: STSv1\nmode: enforce\nmx: mail.example.com\nmx: *.B.test\nmax_age: 1\n"), &error);
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (sts_policy_matches(policy, slice_of(rows[i].host)) != rows[i].is_listed)
            fail_msg("%s", rows[i].host);
    sts_policy_release(&policy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(m1_records), cmocka_unit_test(m3_policies),
                                       cmocka_unit_test(m3_size_and_age), cmocka_unit_test(m4_matching)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
