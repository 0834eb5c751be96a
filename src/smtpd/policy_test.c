/* Who may ask for mail that waits (Y4). */
#include "smtpd/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static const char *const settings[] = {
    "hostname=relay.test",
    "route.branch.test.etrn=true", "route.branch.test.etrn_clients=192.0.2.0/24, user:branch", "route.branch.test.etrn_queue=all",
    "route.open.test.etrn=true", "route.open.test.etrn_queue=all",
    "route.*.open.test.etrn=true", "route.*.open.test.etrn_clients=user:sub",
    "route.plain.test.port=25",
};

static const struct { const char *client, *user; bool may_relay; const char *node; enum policy_etrn wanted; } rows[] = {
    {"192.0.2.9", "", false, "branch.test", ETRN_ALLOWED},
    {"192.0.2.9", "", false, "BRANCH.test", ETRN_ALLOWED},
    {"198.51.100.1", "", false, "branch.test", ETRN_DENIED},
    {"198.51.100.1", "", true, "branch.test", ETRN_DENIED},       /* its list says who */
    {"198.51.100.1", "branch", false, "branch.test", ETRN_ALLOWED},
    {"198.51.100.1", "Branch", false, "branch.test", ETRN_DENIED},
    {"198.51.100.1", "", false, "open.test", ETRN_DENIED},        /* no list: whoever may relay */
    {"198.51.100.1", "", true, "open.test", ETRN_ALLOWED},
    {"198.51.100.1", "anybody", false, "open.test", ETRN_ALLOWED},
    {"198.51.100.1", "anybody", false, "a.open.test", ETRN_DENIED},
    {"198.51.100.1", "sub", false, "a.open.test", ETRN_ALLOWED},
    {"198.51.100.1", "anybody", false, "@open.test", ETRN_DENIED}, /* what lies below is not for it */
    {"198.51.100.1", "sub", false, "@open.test", ETRN_ALLOWED},
    {"198.51.100.1", "sub", false, "@pen.test", ETRN_UNKNOWN},
    {"192.0.2.9", "", true, "#all", ETRN_ALLOWED},
    {"192.0.2.9", "", false, "#all", ETRN_DENIED},
    {"192.0.2.9", "", true, "#other", ETRN_UNKNOWN},
    {"192.0.2.9", "", true, "plain.test", ETRN_UNKNOWN},
    {"192.0.2.9", "", true, "far.test", ETRN_UNKNOWN},
};

static void mail_that_waits_is_asked_for_by_whom_the_route_names(void **state)
{
    struct buf report = {0};
    struct policy policy;
    struct error error;
    size_t bad = 0;
    (void)state;
    struct config *config = config_load(NULL, settings, COUNT_OF(settings), &report);
    if (!config)
        fail_msg("%s", buf_text(&report));
    assert_true(policy_load(config, &policy, &error));
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct in6_addr address;
        assert_true(ip_parse(slice_of(rows[i].client), &address));
        enum policy_etrn found = policy_etrn(&policy, &address, rows[i].user, rows[i].may_relay, slice_of(rows[i].node));
        if (found != rows[i].wanted) {
            print_error("%s \"%s\" %s: %d instead of %d\n", rows[i].client, rows[i].user, rows[i].node, found, rows[i].wanted);
            bad++;
        }
    }
    assert_int_equal(bad, 0);
    policy_finish(&policy);
    config_destroy(&config);
    buf_finish(&report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(mail_that_waits_is_asked_for_by_whom_the_route_names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
