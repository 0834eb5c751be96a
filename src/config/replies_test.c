/* The built-in rules beside two bodies of real knowledge: 98 replies that real servers gave, sorted by Sisimai, and KumoMTA's
 * rules. Where we decide otherwise stands here with its reason: a difference that is not listed fails, and so does a listed one
 * that is none. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "config/replies.h"

#include "os/file.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct difference { const char *what, *why; };

/* Sisimai's "soft" means that the address is not to blame. We give up what is refused for good all the same: RFC 5321 4.2.1
 * says not to repeat a request that had a 5yz answer, and who repeats it is taken for a spammer. The sender is told. */
static const struct difference given_up[] = {
    {"reputation", "a block list does not forget within days"},
    {"authentication", "the same message from the same host stays unauthenticated"},
    {"content", "the same content stays the same"},
    {"policy", "a rule that says no for good"},
    {"relaying", "the route is wrong; a retry goes the same way"},
    {"sender", "the sender's address stays the same"},
    {"inactive", "closed for good by its code"},
    {"mailbox-full", "by its code: 5xx says that they do not want to wait for it; 4xx is tried again"},
    {"too-large", "the message will not shrink"},
    {"protocol", "the same command will fail the same way"},
    {"unknown-user", "the words say that there is no such user, whatever the stage they were said at"},
    {"other", "5xx without words that tell more"},
};

/* Addresses of which we say that they are bad and Sisimai does not, or the other way round. */
static const struct difference bad_or_not[] = {
    {"lhost-amazonworkmail-02.eml", "User Unknown, with status 5.2.1"},
    {"lhost-apachejames-01.eml", "no such user here"},
    {"lhost-courier-02.eml", "Unknown user"},
    {"lhost-office365-04.eml", "unknown recipient, User unknown"},
    {"lhost-postfix-07.eml", "User unknown"},
    {"lhost-postfix-35.eml", "User unknown"},
    {"lhost-sendmail-02.eml", "User Unknown, with status 5.2.1"},
    {"lhost-yahoo-06.eml", "User unknown"},
    {"rhost-nttdocomo-02.eml", "Unknown user"},
};

struct count { size_t rows, differences, unlisted; };

static char *corpus(const char *name)
{
    char path[4096];
    struct buf text = {0};
    struct error error;
    (void)snprintf(path, sizeof path, "%s/%s", getenv("CORPUS"), name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_true(file_read(fd, 1 << 20, &text, &error));
    close(fd);
    return buf_take(&text);
}

static void no_fault(void *arg, size_t line, const char *text)
{
    (void)arg;
    fail_msg("line %zu: %s", line, text);
}

/* The status as the relay sees it: what stands right behind the code, else the code's own. */
static void status_of(int code, struct slice text, char ret_status[16])
{
    char three[8];
    (void)snprintf(three, sizeof three, "%d", code);
    (void)snprintf(ret_status, 16, "%d.0.0", code / 100);
    for (size_t at = 0; at + 9 <= text.size; at++) {
        const char *c = text.data + at;
        if (memcmp(c, three, 3) != 0 || !isdigit((unsigned char)c[4]) || c[5] != '.' || !isdigit((unsigned char)c[6]))
            continue;
        size_t size = 0;
        while (at + 4 + size < text.size && size < 15 && (isdigit((unsigned char)c[4 + size]) || c[4 + size] == '.'))
            size++;
        (void)snprintf(ret_status, 16, "%.*s", (int)size, c + 4);
        return;
    }
}

static bool is_listed(const struct difference *list, size_t count, struct slice what, bool *used)
{
    for (size_t i = 0; i < count; i++)
        if (slice_equals(what, slice_of(list[i].what))) {
            used[i] = true;
            return true;
        }
    return false;
}

static void real_replies(void **state)
{
    (void)state;
    bool used_class[COUNT_OF(given_up)] = {0}, used_sample[COUNT_OF(bad_or_not)] = {0};
    struct replies *replies = replies_create(SLICE_NONE, no_fault, NULL);
    char *all = corpus("codes/replies/replies.tsv"), status[16];
    struct slice rest = slice_of(all);
    struct count count = {0};
    (void)slice_cut(&rest, '\n');
    while (rest.size) {
        struct slice line = slice_cut(&rest, '\n');
        struct slice sample = slice_cut(&line, '\t');
        (void)slice_cut(&line, '\t');
        uint64_t code;
        assert_true(slice_to_u64(slice_cut(&line, '\t'), &code));
        (void)slice_cut(&line, '\t');
        struct slice soft = slice_cut(&line, '\t');
        (void)slice_cut(&line, '\t');
        status_of((int)code, line, status);
        struct reply_meaning meaning = replies_find(replies, SLICE_NONE, (int)code, status, line);
        bool is_retried = meaning.verdict == REPLY_RETRY || (meaning.verdict == REPLY_BY_CODE && code / 100 == 4);
        bool is_bad = meaning.class && meaning.class->is_address_bad;
        struct slice name = meaning.class ? slice_of(meaning.class->name) : SLICE("other");
        count.rows++;
        if (is_bad != slice_equals(soft, SLICE("0"))) {
            count.differences++;
            if (!is_listed(bad_or_not, COUNT_OF(bad_or_not), sample, used_sample)) {
                print_error("%.*s: %.*s, soft %.*s: %.*s\n", SLICE_FMT(sample), SLICE_FMT(name), SLICE_FMT(soft), SLICE_FMT(line));
                count.unlisted++;
            }
        }
        if (is_retried == !slice_equals(soft, SLICE("0")))
            continue;
        if (is_retried || !is_listed(given_up, COUNT_OF(given_up), name, used_class)) {
            print_error("%.*s: %.*s, soft %.*s, retried %d\n", SLICE_FMT(sample), SLICE_FMT(name), SLICE_FMT(soft), is_retried);
            count.unlisted++;
        }
    }
    print_message("%zu replies, %zu differ\n", count.rows, count.differences);
    for (size_t i = 0; i < COUNT_OF(given_up); i++)
        if (!used_class[i])
            fail_msg("no difference: %s", given_up[i].what);
    for (size_t i = 0; i < COUNT_OF(bad_or_not); i++)
        if (!used_sample[i])
            fail_msg("no difference: %s", bad_or_not[i].what);
    assert_int_equal(count.unlisted, 0);
    assert_int_equal(count.rows, 98);
    free(all);
    replies_destroy(&replies);
}

/* KumoMTA's class, ours that mean the same, and whether ours tries again. KumoMTA itself goes by the first digit. */
static const struct { const char *theirs, *ours; } same[] = {
    {"InvalidRecipient", "unknown-user"},     {"BadDomain", "unknown-domain"},  {"InactiveMailbox", "inactive mailbox-full"},
    {"QuotaIssues", "mailbox-full inactive"}, {"RoutingErrors", "relaying loop"}, {"TransientFailure", "temporary recipient-rate system"},
    {"ProtocolErrors", "protocol"},           {"AuthenticationFailed", "authentication sender"},
    {"PolicyRelated", "policy"},              {"SpamBlock", "reputation"},      {"SpamContent", "content"}, {"DNSFailure", "sender"},
};

static const struct difference kumo_differences[] = {
    {"Invalid account. Tenant or Domain not found", "that is the domain, not the mailbox"},
    {"The mail server could not deliver mail to", "its words are of a missing account, a block list and DNS at once"},
    {"permanent failure for one or more recipients", "says nothing of which, nor why"},
    {"No MX for", "498 is no reply code; it waits"},
    {"550 5.7.1", "RFC 3463: not authorized, for whatever reason"},
    {"REJECT spam", "the message was taken for spam; the address isn't named"},
    {"Message rejected as spam", "the same"},
    {"spam message rejected", "the same"},
    {"JunkMail rejected", "the same"},
    {"it is spam", "the same"},
    {"Message denied", "says no more than that"},
};

/* A text that the pattern matches. */
static void sample_of(struct slice pattern, struct buf *out)
{
    for (size_t i = 0; i < pattern.size; i++) {
        char c = pattern.data[i];
        if (c == '^' || c == '$')
            continue;
        if (c == '\\')
            continue;
        if (c == '.' && i + 1 < pattern.size && (pattern.data[i + 1] == '+' || pattern.data[i + 1] == '*')) {
            buf_append_text(out, " mx1 ");
            i++;
            continue;
        }
        buf_append_byte(out, c);
    }
}

static void other_rules(void **state)
{
    (void)state;
    struct replies *replies = replies_create(SLICE_NONE, no_fault, NULL);
    char *all = corpus("codes/kumomta/community/bounces.toml"), status[16];
    struct slice rest = slice_of(all), section = SLICE("");
    size_t count = 0, differ = 0;
    while (rest.size) {
        struct slice line = slice_trim(slice_cut(&rest, '\n'));
        struct slice name = line, text = line;
        struct buf sample = {0};
        if (line.size == 0 || line.data[0] == '#')
            continue;
        if (line.data[0] != '"') {
            section = slice_trim(slice_cut(&name, '='));
            continue;
        }
        (void)slice_cut(&text, '"');
        sample_of(slice_cut(&text, '"'), &sample);
        uint64_t code;
        if (!slice_to_u64(slice_first(buf_slice(&sample), 3), &code)) {
            buf_finish(&sample);
            continue; /* without a code in front it is no reply */
        }
        status_of((int)code, buf_slice(&sample), status);
        struct reply_meaning meaning = replies_find(replies, SLICE_NONE, (int)code, status, buf_slice(&sample));
        const char *ours = meaning.class ? meaning.class->name : "other", *wanted = "";
        for (size_t i = 0; i < COUNT_OF(same); i++)
            if (slice_equals(section, slice_of(same[i].theirs)))
                wanted = same[i].ours;
        bool is_expected = false;
        for (size_t i = 0; i < COUNT_OF(kumo_differences); i++)
            is_expected = is_expected || strstr(buf_text(&sample), kumo_differences[i].what);
        count++;
        if (!strstr(wanted, ours) && !is_expected) {
            print_error("%.*s, ours %s: %s\n", SLICE_FMT(section), ours, buf_text(&sample));
            differ++;
        }
        buf_finish(&sample);
    }
    print_message("%zu rules\n", count);
    assert_true(count > 80);
    assert_int_equal(differ, 0);
    free(all);
    replies_destroy(&replies);
}

static void expect(const struct replies *replies, const char *host, int code, const char *status, const char *text,
                   const char *class, enum reply_verdict verdict)
{
    struct reply_meaning meaning = replies_find(replies, slice_of(host), code, status, slice_of(text));
    assert_string_equal(meaning.class ? meaning.class->name : "other", class);
    assert_int_equal(meaning.verdict, verdict);
}

static void providers(void **state)
{
    (void)state;
    struct replies *replies = replies_create(SLICE_NONE, no_fault, NULL);
    expect(replies, "gmail-smtp-in.l.google.com", 550, "5.7.1",
           "550-5.7.1 [2001:db8::1] Our system has detected that this message does not meet IPv6 sending guidelines", "ipv6", REPLY_RETRY);
    expect(replies, "gmail-smtp-in.l.google.com", 421, "4.7.28", "421-4.7.28 unusual rate of mail", "throttled", REPLY_RETRY);
    expect(replies, "gmail-smtp-in.l.google.com", 550, "5.7.26", "550-5.7.26 This mail has been blocked because the sender is unauthenticated",
           "authentication", REPLY_BY_CODE);
    expect(replies, "x.mail.protection.outlook.com", 550, "5.7.606", "550 5.7.606 Access denied, banned sending IP", "reputation", REPLY_BY_CODE);
    expect(replies, "x.mail.protection.outlook.com", 451, "4.7.650", "451 4.7.650 The mail server has been temporarily rate limited",
           "throttled", REPLY_RETRY);
    expect(replies, "mta5.am0.yahoodns.net", 421, "4.7.0", "421 4.7.0 [TSS04] Messages temporarily deferred", "throttled", REPLY_RETRY);
    expect(replies, "mta5.am0.yahoodns.net", 421, "4.7.1", "421 4.7.1 [TS03] All messages will be permanently deferred", "reputation", REPLY_FAIL);
    expect(replies, "mx.example.com", 421, "4.7.0", "421 4.7.0 [TSS04] Messages temporarily deferred", "system", REPLY_BY_CODE);
    expect(replies, "mx.example.com", 550, "5.0.0", "550 terrible marble", "other", REPLY_BY_CODE); /* "RBL" only as a word */
    replies_destroy(&replies);
}

static void note_fault(void *arg, size_t line, const char *text)
{
    buf_printf(arg, "%zu: %s\n", line, text);
}

static void own_rules(void **state)
{
    (void)state;
    struct buf faults = {0};
    struct replies *replies = replies_create(
        SLICE("class ours rest=2m slow : our own\n@mx.test\nours/fail 4xx * wrong colour\n@\n"
              "mailbox-full/retry 5xx 5.2.2\n# a comment\nnobody 550 *\nours 5z0 *\nours/perhaps 550 *\nclass bad\nclass ours quick : x\n"),
        note_fault, &faults);
    expect(replies, "a.mx.test", 451, "4.0.0", "451 Wrong Colour of text", "ours", REPLY_FAIL);
    expect(replies, "a.mx.test.example", 451, "4.0.0", "451 Wrong Colour of text", "system", REPLY_BY_CODE);
    expect(replies, "x", 552, "5.2.2", "552 5.2.2 full", "mailbox-full", REPLY_RETRY);
    assert_non_null(strstr(buf_text(&faults), "7: no class \"nobody\""));
    assert_non_null(strstr(buf_text(&faults), "8: \"5z0\" is no code"));
    assert_non_null(strstr(buf_text(&faults), "9: \"/perhaps\""));
    assert_non_null(strstr(buf_text(&faults), "10: class NAME"));
    assert_non_null(strstr(buf_text(&faults), "11: \"quick\""));
    buf_finish(&faults);
    replies_destroy(&replies);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(real_replies), cmocka_unit_test(other_rules), cmocka_unit_test(providers), cmocka_unit_test(own_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
