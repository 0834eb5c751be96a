/* sendmail_options: the command line of a sendmail(1) caller, read as sendmail, Postfix and Exim together read it. Pure.
 *
 * W1  options are clustered and valued as by getopt ("-ti", "-fa@b", "-f a@b", "-oi", "-o i"); "--" or the first word
 *     without a dash ends them: what follows is a recipient and never an option
 * W2  what says something about the message counts: -f -r -F -N -R -V -t -i -oi -O IgnoreDots -B -bX -q -v
 * W3  what tells a sendmail how to deliver or to report errors (-odX -oeX -e -m -n -G -U -L -A -p -h …) is accepted and
 *     has no effect; -v says so
 * W4  what names a file, a folder, a program or a server mode (-C -X -D -O QueueDirectory=…, -oA -oQ, -be, -bd …) is refused,
 *     as is what isn't known: nothing of it is ever acted on
 * W5  values with control octets are refused: they would be lines of the header or of the envelope */
#ifndef MR_CLI_SENDMAIL_OPTIONS_H
#define MR_CLI_SENDMAIL_OPTIONS_H

#include "base/buf.h"
#include "base/error.h"

enum sendmail_mode {
    SENDMAIL_SUBMIT,   /* -bm */
    SENDMAIL_SMTP,     /* -bs */
    SENDMAIL_LIST,     /* -bp, mailq */
    SENDMAIL_ALIASES,  /* -bi, newaliases */
    SENDMAIL_VERIFY,   /* -bv */
    SENDMAIL_FLUSH,    /* -q: all, or what select says */
};

struct sendmail_options {
    enum sendmail_mode mode;
    struct slice sender, name;         /* -f or -r, -F; absent if not given; "" is the null sender */
    struct slice notify, ret, envid;   /* -N -R -V, checked; absent if not given */
    bool is_from_header;               /* -t */
    bool is_dot_data;                  /* -i: a lone dot is no end */
    bool is_verbose;                   /* -v */
    char select;                       /* -qI -qR -qS: 'I', 'R', 'S'; 0 = all */
    struct slice selected;
    struct buf notes;                  /* what was accepted without effect, blank-separated; the holder's */
};

/* Index of the first recipient; -1 with what is wrong. Slices point into argv. */
int sendmail_options_read(int argc, char **argv, struct sendmail_options *options, struct error *error);

#endif
