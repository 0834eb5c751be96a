/* W1 to W5 of cli/sendmail_options.h: command lines as they are called, and as an attacker would have them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "cli/sendmail_options.h"

#include <stdio.h>
#include <string.h>

enum { WORDS_MAX = 16 };

/* "mode|t|i|v|sender|name|recipients", or "!" and a part of the complaint. Words are parted by a blank; "_" is one. */
static const struct { const char *line, *expected; } rows[] = {
    /* cron (Debian, cronie, Vixie), anacron, at, logrotate, smartd, mdadm */
    {"-FCronDaemon -i -odi -oem -oi -t -f root", "0|t|i||root|CronDaemon|"},
    {"-i -B8BITMIME -oem root", "0||i|||" "|root"},
    {"-oi -oem root", "0||i||||root"},
    {"-t", "0|t|||||"},
    {"-oem -oi root@example.com", "0||i||||root@example.com"},
    /* PHP mail(), PHPMailer, Symfony, Laravel, WordPress */
    {"-t -i", "0|t|i||||"},
    {"-t -i -fa@b.c", "0|t|i||a@b.c||"},
    {"-fa@b.c -i -t", "0|t|i||a@b.c||"},
    {"-oi -fa@b.c -t", "0|t|i||a@b.c||"},
    {"-bs", "1||||||"},
    {"-ti", "0|t|i||||"},
    /* Nodemailer, Ruby mail, Perl's Mail::Sendmail, Python, Go */
    {"-i -f a@b.c x@y.z u@v.w", "0||i||a@b.c||x@y.z u@v.w"},
    {"-i -f a@b.c -- x@y.z", "0||i||a@b.c||x@y.z"},
    {"-i -t", "0|t|i||||"},
    {"-G -i x@y.z", "0||i||||x@y.z"},
    /* git send-email, mutt, s-nail, alpine, msmtp's users, reportbug, Debian's bug tools */
    {"-i x@y.z u@v.w", "0||i||||x@y.z u@v.w"},
    {"-oem -oi -f a@b.c -- x@y.z", "0||i||a@b.c||x@y.z"},
    {"-oem -oi -N failure,delay -R hdrs -- x@y.z", "0||i||||x@y.z"},
    {"-i -r a@b.c -- x@y.z", "0||i||a@b.c||x@y.z"},
    {"-bm -odq -oem -oi x@y.z", "0||i||||x@y.z"},
    {"-U -oi -m -n x@y.z", "0||i||||x@y.z"},
    {"-f <> x@y.z", "0|||||" "|x@y.z"},
    {"-O ErrorMode=m -O IgnoreDots=true x@y.z", "0||i||||x@y.z"},
    {"-OErrorMode=m -oi -L tag -h 3 -p SMTP:host x@y.z", "0||i||||x@y.z"},
    {"-Ac -Am -d0.1 x@y.z", "0||||||x@y.z"},
    {"-v -V id123 x@y.z", "0|||v|||x@y.z"},
    {"-FA_B x@y.z", "0||||" "|A B|x@y.z"},
    /* the other modes */
    {"-bp", "2||||||"}, {"-bi", "3||||||"}, {"-I", "3||||||"}, {"-bv x@y.z", "4||||||x@y.z"},
    {"-q", "5||||||"}, {"-q15m", "5||||||"}, {"-qRexample.com", "5||||||"},
    /* recipients are never options */
    {"-i -- -X/tmp/x", "0||i||||-X/tmp/x"},
    {"x@y.z -X/tmp/x", "0||||||x@y.z -X/tmp/x"},
    {"-f -X/tmp/x y@z.w", "0||||-X/tmp/x||y@z.w"}, /* a sender that the relay will refuse, not an option */
    /* what must not be */
    {"-X/tmp/x.php x@y.z", "!-X is refused"},
    {"-ti -X/tmp/x", "!-X is refused"},
    {"-iX/tmp/x", "!-X is refused"},
    {"-C/etc/passwd", "!-C is refused"},
    {"-C /etc/passwd x", "!-C is refused"},
    {"-D /tmp/x x", "!-D is refused"},
    {"-OQueueDirectory=/tmp x", "!-O QueueDirectory"},
    {"-O queuedirectory=/tmp x", "!-O queuedirectory"},
    {"-OTrustedUser=www x", "!-O TrustedUser"},
    {"-OControlSocketName=/x x", "!-O Control"},
    {"-oQ/tmp x", "!-oQ/tmp"}, {"-oA/tmp/aliases x", "!-oA"}, {"-o Q/tmp x", "!-oQ"},
    {"-be ${run{/bin/id}}", "!-be"}, {"-bd", "!-bd"}, {"-bt", "!-bt"}, {"-bD", "!-bD"}, {"-bP", "!-bP"},
    {"-Mrm 1abcde", "!-M is refused"},
    {"-Z x", "!-Z: no such option"}, {"--help", "!no such option"}, {"-f", "!-f: a value"},
    {"-N sometimes x", "!-N sometimes"}, {"-R all x", "!-R all"}, {"-V a=b x", "!-V"}, {"-B quoted x", "!-B"}, {"-qQ", "!-qQ"},
    {"-f a@b\nX-Receiver:_c@d x", "!a control character"},
    {"-F Name\rBcc:_c@d x", "!a control character"},
    {"x@y.z\nBcc:_c@d", "!a control character in a recipient"},
};

static int cut(char *line, char **argv)
{
    int argc = 0;
    argv[argc++] = (char *)(uintptr_t)"sendmail";
    for (char *word = strtok(line, " "); word && argc < WORDS_MAX; word = strtok(NULL, " ")) {
        for (char *c = word; *c; c++)
            *c = *c == '_' ? ' ' : *c;
        argv[argc++] = word;
    }
    argv[argc] = NULL;
    return argc;
}

static void describe(const struct sendmail_options *o, int at, int argc, char **argv, char *out, size_t size)
{
    size_t used = (size_t)snprintf(out, size, "%d|%s|%s|%s|%.*s|%.*s|", o->mode, o->is_from_header ? "t" : "",
                                   o->is_dot_data ? "i" : "", o->is_verbose ? "v" : "", SLICE_FMT(o->sender),
                                   SLICE_FMT(o->name));
    for (int i = at; i < argc; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%s", i > at ? " " : "", argv[i]);
}

static void command_lines_are_read_as_their_callers_mean_them(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char line[200], got[300], *argv[WORDS_MAX + 1];
        struct sendmail_options options = {.mode = SENDMAIL_SUBMIT, .sender = SLICE(""), .name = SLICE("")};
        struct error error = {{0}};
        (void)snprintf(line, sizeof line, "%s", rows[i].line);
        int argc = cut(line, argv);
        int at = sendmail_options_read(argc, argv, &options, &error);
        if (rows[i].expected[0] == '!') {
            if (at != -1 || !strstr(error.text, rows[i].expected + 1))
                fail_msg("%s: \"%s\"", rows[i].line, at == -1 ? error.text : "taken");
        } else {
            if (at < 0)
                fail_msg("%s: %s", rows[i].line, error.text);
            describe(&options, at, argc, argv, got, sizeof got);
            if (strcmp(got, rows[i].expected) != 0)
                fail_msg("%s: got %s", rows[i].line, got);
        }
        buf_finish(&options.notes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(command_lines_are_read_as_their_callers_mean_them)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
