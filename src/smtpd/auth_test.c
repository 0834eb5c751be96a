/* L2: what is done for an unknown user, counted; the clock is not asked. This program's crypt_r() and libgsasl's derivation stand in
 * for the libraries'. */
#include "smtpd/auth.h"

#include "base/base64.h"
#include "os/file.h"

#include <crypt.h>
#include <gsasl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define ALICE "$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/"
#define BOB "$5$rounds=9000$othersalt$rBQP5G3fWJ1cmbOgEwFZgcxo5yg3Jo0oFjXnqYR0Fa/"
#define KEY_A "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define KEY_B "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="

static struct { int crypts, derivations; char settings[8][80]; int iterations[8]; } work;

char *crypt_r(const char *phrase, const char *setting, struct crypt_data *data)
{
    (void)phrase;
    (void)snprintf(work.settings[work.crypts++ % 8], sizeof work.settings[0], "%.20s", setting);
    (void)snprintf(data->output, sizeof data->output, "*no hash");
    return data->output;
}

int gsasl_scram_secrets_from_password(Gsasl_hash hash, const char *password, unsigned iterations, const char *salt, size_t size,
                                      char *salted, char *client, char *server, char *stored)
{
    (void)hash, (void)password, (void)salt, (void)size;
    work.iterations[work.derivations++ % 8] = (int)iterations;
    memset(salted, 7, 32);
    memset(client, 7, 32);
    memset(server, 7, 32);
    memset(stored, 7, 32);
    return GSASL_OK;
}

static char path[] = "/tmp/mailroot-auth-XXXXXX";

static struct auth *open_users(const char *text)
{
    struct error error = {0};
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    (void)fputs(text, file);
    (void)fclose(file);
    struct auth *auth = auth_open(path, -1, &error);
    if (!auth)
        fail_msg("%s", error.text);
    return auth;
}

/* The last answer, and how it ended. */
static enum server_verdict try(const struct auth *auth, const char *mechanism, const char *const *responses, struct buf *out)
{
    enum server_verdict verdict = AUTH_CHALLENGE;
    struct auth_session *session = auth_begin(auth, slice_of(mechanism), "");
    for (; *responses && verdict == AUTH_CHALLENGE; responses++) {
        struct buf text = {0};
        base64_encode(slice_of(*responses), &text);
        verdict = auth_step(session, text.size ? buf_slice(&text) : SLICE_NONE, out); /* "": the server speaks first */
        buf_finish(&text);
    }
    auth_end(&session);
    return verdict;
}

static enum server_verdict try_plain(const struct auth *auth, const char *name, struct buf *out)
{
    struct buf text = {0}, response = {0};
    buf_append_byte(&text, '\0');
    buf_append_text(&text, name);
    buf_append_byte(&text, '\0');
    buf_append_text(&text, "wrong");
    base64_encode(buf_slice(&text), &response);
    struct auth_session *session = auth_begin(auth, SLICE("PLAIN"), "");
    enum server_verdict verdict = auth_step(session, buf_slice(&response), out);
    auth_end(&session);
    buf_finish(&text);
    buf_finish(&response);
    return verdict;
}

static void an_unknown_user_costs_one_hash_of_a_known_one(void **state)
{
    static const char *const names[] = {"alice", "bob", "nobody", "root", "x", "mallory"};
    bool has_first = false, has_second = false;
    struct buf out = {0};
    (void)state;
    struct auth *auth = open_users("alice:" ALICE "\nbob:" BOB "\n");
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        for (int round = 0; round < 2; round++) {
            memset(&work, 0, sizeof work);
            assert_int_equal(try_plain(auth, names[i], &out), AUTH_REFUSED);
            assert_int_equal(work.crypts, 1);
            assert_int_equal(out.size, 0);
            static char first[80];
            if (round == 0)
                (void)snprintf(first, sizeof first, "%s", work.settings[0]);
            assert_string_equal(work.settings[0], first); /* the same work each time */
        }
        has_first = has_first || strncmp(work.settings[0], ALICE, 10) == 0;
        has_second = has_second || (i > 1 && strncmp(work.settings[0], BOB, 10) == 0);
        const char *const login[] = {"", names[i], "wrong", NULL};
        memset(&work, 0, sizeof work);
        assert_int_equal(try(auth, "LOGIN", login, &out), AUTH_REFUSED);
        assert_int_equal(work.crypts, 1);
    }
    assert_true(has_first && has_second); /* unknown names are like any user, not like the first alone */
    auth_close(&auth);
    buf_finish(&out);
}

#define SCRAM_USERS "alice:{SCRAM-SHA-256}4096,c2FsdHNhbHRzYWx0," KEY_A "," KEY_B "\nbob:{SCRAM-SHA-256}9000,c2FsdHNhbHRzYWx0," KEY_A "," KEY_B "\n"

/* The server's first message without what is random in it: "s=SALT,i=COUNT". */
static void scram_offer(const struct auth *auth, const char *name, char ret_offer[128])
{
    struct buf first = {0}, out = {0}, plain = {0};
    buf_printf(&first, "n,,n=%s,r=0123456789abcdef", name);
    const char *const responses[] = {buf_text(&first), NULL};
    assert_int_equal(try(auth, "SCRAM-SHA-256", responses, &out), AUTH_CHALLENGE);
    assert_true(base64_decode(buf_slice(&out), &plain));
    const char *salt = strstr(buf_text(&plain), "s=");
    assert_non_null(salt);
    (void)snprintf(ret_offer, 128, "%s", salt);
    buf_finish(&first);
    buf_finish(&out);
    buf_finish(&plain);
}

static void an_unknown_user_has_a_salt_of_its_own_that_stays(void **state)
{
    char known[128], one[128], again[128], other[128];
    struct buf out = {0};
    (void)state;
    struct auth *auth = open_users(SCRAM_USERS);
    scram_offer(auth, "alice", known);
    scram_offer(auth, "nobody", one);
    scram_offer(auth, "somebody", other);
    assert_string_not_equal(one, other);
    assert_int_equal(strlen(one), strlen(known));
    assert_true(strstr(one, ",i=4096") || strstr(one, ",i=9000"));
    memset(&work, 0, sizeof work);
    assert_int_equal(try_plain(auth, "nobody", &out), AUTH_REFUSED);
    assert_int_equal(work.derivations, 1);
    char iterations[32];
    (void)snprintf(iterations, sizeof iterations, ",i=%d", work.iterations[0]);
    assert_non_null(strstr(one, iterations)); /* PLAIN costs what SCRAM says */
    auth_close(&auth);
    auth = open_users(SCRAM_USERS); /* a restart tells nobody apart */
    scram_offer(auth, "nobody", again);
    assert_string_equal(one, again);
    auth_close(&auth);
    buf_finish(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unknown_user_costs_one_hash_of_a_known_one),
        cmocka_unit_test(an_unknown_user_has_a_salt_of_its_own_that_stays),
    };
    int fd = mkstemp(path);
    if (fd < 0)
        return 1;
    close(fd);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)unlink(path);
    return failed;
}
