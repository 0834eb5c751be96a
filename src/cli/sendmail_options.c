#include "cli/sendmail_options.h"

#include "message/envelope.h"

#include <stdlib.h>
#include <string.h>

enum taking { TAKE_FLAG, TAKE_VALUE, TAKE_ATTACHED }; /* attached: "-q" and "-qR…", never the next word */

typedef bool take_fn(struct sendmail_options *options, struct slice value, struct error *error);

struct option {
    char letter;
    enum taking taking;
    take_fn *take;          /* NULL: accepted without effect (W3), or refused */
    const char *refusal;    /* W4 */
};

static bool take_sender(struct sendmail_options *options, struct slice value, struct error *error)
{
    (void)error;
    options->sender = slice_equals(value, SLICE("<>")) ? SLICE("") : value;
    return true;
}

static bool take_name(struct sendmail_options *options, struct slice value, struct error *error)
{
    (void)error;
    options->name = value;
    return true;
}

static bool take_notify(struct sendmail_options *options, struct slice value, struct error *error)
{
    unsigned bits;
    options->notify = value;
    return envelope_notify_parse(value, &bits)
           || error_set(error, "-N %.*s: never, or failure,delay,success was expected", SLICE_FMT(value));
}

static bool take_ret(struct sendmail_options *options, struct slice value, struct error *error)
{
    options->ret = value;
    return slice_equals_nocase(value, SLICE("full")) || slice_equals_nocase(value, SLICE("hdrs"))
           || error_set(error, "-R %.*s: full or hdrs was expected", SLICE_FMT(value));
}

/* RFC 3461 4.4: xtext of at most 100 octets. */
static bool take_envid(struct sendmail_options *options, struct slice value, struct error *error)
{
    bool is_fine = value.size > 0 && value.size <= 100;
    for (size_t i = 0; i < value.size; i++)
        is_fine = is_fine && value.data[i] > ' ' && value.data[i] < 0x7f && value.data[i] != '=';
    options->envid = value;
    return is_fine || error_set(error, "-V: up to 100 printable characters without blanks and \"=\" were expected");
}

static bool take_body(struct sendmail_options *options, struct slice value, struct error *error)
{
    (void)options; /* the relay looks at the content */
    return slice_equals_nocase(value, SLICE("8BITMIME")) || slice_equals_nocase(value, SLICE("7BIT"))
           || error_set(error, "-B %.*s: 7BIT or 8BITMIME was expected", SLICE_FMT(value));
}

static bool take_header(struct sendmail_options *options, struct slice value, struct error *error)
{
    (void)value;
    (void)error;
    options->is_from_header = true;
    return true;
}

static bool take_dots(struct sendmail_options *options, struct slice value, struct error *error)
{
    (void)value;
    (void)error;
    options->is_dot_data = true;
    return true;
}

static bool take_verbose(struct sendmail_options *options, struct slice value, struct error *error)
{
    (void)value;
    (void)error;
    options->is_verbose = true;
    return true;
}

static bool take_aliases(struct sendmail_options *options, struct slice value, struct error *error)
{
    (void)value;
    (void)error;
    options->mode = SENDMAIL_ALIASES;
    return true;
}

static bool take_mode(struct sendmail_options *options, struct slice value, struct error *error)
{
    static const struct { const char *name; enum sendmail_mode mode; } modes[] = {
        {"m", SENDMAIL_SUBMIT},  {"s", SENDMAIL_SMTP},    {"p", SENDMAIL_LIST},
        {"i", SENDMAIL_ALIASES}, {"v", SENDMAIL_VERIFY},
    };
    for (size_t i = 0; i < COUNT_OF(modes); i++)
        if (slice_equals(value, slice_of(modes[i].name))) {
            options->mode = modes[i].mode;
            return true;
        }
    return error_set(error, "-b%.*s: no such mode here; m, s, p, i, v are (mailroot run is the daemon)", SLICE_FMT(value));
}

static bool take_flush(struct sendmail_options *options, struct slice value, struct error *error)
{
    options->mode = SENDMAIL_FLUSH;
    if (value.size == 0 || value.data[0] == 'f' || (value.data[0] >= '0' && value.data[0] <= '9'))
        return true; /* -q30m asks a daemon for an interval: ours has its own, this is one run */
    options->select = value.data[0];
    options->selected = slice_from(value, 1);
    return (strchr("IRS", options->select) && options->selected.size)
           || error_set(error, "-q%.*s: -q, -qI with an id, -qR with a recipient or -qS with a sender was expected", SLICE_FMT(value));
}

/* -o and -O: an option of sendmail's configuration, by letter or by name. */
static bool is_forbidden_setting(struct slice name)
{
    static const char *const words[] = {"queue", "file", "directory", "path", "socket", "map", "runas", "user", "mailer",
                                        "safe", "program", "include", "host", "port", "daemon"};
    char *text = slice_copy(name);
    bool is_forbidden = false;
    for (size_t i = 0; i < COUNT_OF(words); i++)
        is_forbidden = is_forbidden || strcasestr(text, words[i]) != NULL;
    free(text);
    return is_forbidden;
}

static bool take_letter_setting(struct sendmail_options *options, struct slice value, struct error *error)
{
    if (value.size == 0 || strchr("AQSHFuglPMRtDEZO", value.data[0]))
        return error_set(error, "-o%.*s: a setting of sendmail's own that could name files or users is refused", SLICE_FMT(value));
    if (value.data[0] == 'i')
        options->is_dot_data = true;
    else
        buf_printf(&options->notes, " -o%.*s", SLICE_FMT(value));
    return true;
}

static bool take_setting(struct sendmail_options *options, struct slice value, struct error *error)
{
    struct slice rest = value, name = slice_trim(slice_cut(&rest, '='));
    if (name.size == 0 || is_forbidden_setting(name))
        return error_set(error, "-O %.*s: a setting that could name files or users is refused", SLICE_FMT(value));
    if (slice_equals_nocase(name, SLICE("IgnoreDots")))
        options->is_dot_data = rest.size == 0 || strchr("tTyY1", rest.data[0]) != NULL;
    else
        buf_printf(&options->notes, " -O%.*s", SLICE_FMT(value));
    return true;
}

static const struct option table[] = {
    {'A', TAKE_VALUE, NULL, NULL},          {'B', TAKE_VALUE, take_body, NULL},
    {'C', TAKE_VALUE, NULL, "names a configuration file; ours is mailroot.conf(5)"},
    {'D', TAKE_VALUE, NULL, "names a file"},
    {'E', TAKE_FLAG, NULL, NULL},           {'F', TAKE_VALUE, take_name, NULL},
    {'G', TAKE_FLAG, NULL, NULL},           {'I', TAKE_FLAG, take_aliases, NULL},
    {'L', TAKE_VALUE, NULL, NULL},          {'M', TAKE_VALUE, NULL, "works on one message of a queue: mailroot queue does"},
    {'N', TAKE_VALUE, take_notify, NULL},   {'O', TAKE_VALUE, take_setting, NULL},
    {'R', TAKE_VALUE, take_ret, NULL},      {'U', TAKE_FLAG, NULL, NULL},
    {'V', TAKE_VALUE, take_envid, NULL},    {'X', TAKE_VALUE, NULL, "names a file"},
    {'b', TAKE_VALUE, take_mode, NULL},     {'c', TAKE_FLAG, NULL, NULL},
    {'d', TAKE_ATTACHED, NULL, NULL},       {'e', TAKE_VALUE, NULL, NULL},
    {'f', TAKE_VALUE, take_sender, NULL},   {'h', TAKE_VALUE, NULL, NULL},
    {'i', TAKE_FLAG, take_dots, NULL},      {'m', TAKE_FLAG, NULL, NULL},
    {'n', TAKE_FLAG, NULL, NULL},           {'o', TAKE_VALUE, take_letter_setting, NULL},
    {'p', TAKE_VALUE, NULL, NULL},          {'q', TAKE_ATTACHED, take_flush, NULL},
    {'r', TAKE_VALUE, take_sender, NULL},   {'s', TAKE_FLAG, NULL, NULL},
    {'t', TAKE_FLAG, take_header, NULL},    {'v', TAKE_FLAG, take_verbose, NULL},
};

static const struct option *find(char letter)
{
    for (size_t i = 0; i < COUNT_OF(table); i++)
        if (table[i].letter == letter)
            return &table[i];
    return NULL;
}

static bool has_control(struct slice text)
{
    for (size_t i = 0; i < text.size; i++)
        if ((unsigned char)text.data[i] < 0x20 || text.data[i] == 0x7f)
            return true;
    return false;
}

static bool take(const struct option *option, struct sendmail_options *options, struct slice value, struct error *error)
{
    if (option->refusal)
        return error_set(error, "-%c is refused: it %s", option->letter, option->refusal);
    if (has_control(value))
        return error_set(error, "-%c: a control character in its value", option->letter);
    if (option->take)
        return option->take(options, value, error);
    buf_printf(&options->notes, " -%c%.*s", option->letter, SLICE_FMT(value));
    return true;
}

/* One word of options, maybe with the next one as value; *at moves to the last word used. */
static bool read_word(int argc, char **argv, int *at, struct sendmail_options *options, struct error *error)
{
    for (const char *c = argv[*at] + 1; *c; c++) {
        const struct option *option = find(*c);
        struct slice value = SLICE("");
        if (!option)
            return error_set(error, "-%s: no such option", c);
        if (option->taking == TAKE_VALUE && !c[1] && *at + 1 >= argc)
            return error_set(error, "-%c: a value was expected", *c);
        if (option->taking == TAKE_VALUE)
            value = slice_of(c[1] ? c + 1 : argv[++*at]);
        else if (option->taking == TAKE_ATTACHED)
            value = slice_of(c + 1);
        if (!take(option, options, value, error))
            return false;
        if (option->taking != TAKE_FLAG)
            return true;
    }
    return true;
}

int sendmail_options_read(int argc, char **argv, struct sendmail_options *options, struct error *error)
{
    int at = 1;
    for (; at < argc && argv[at][0] == '-' && argv[at][1]; at++) {
        if (strcmp(argv[at], "--") == 0) {
            at++;
            break;
        }
        if (!read_word(argc, argv, &at, options, error))
            return -1;
    }
    for (int i = at; i < argc; i++)
        if (has_control(slice_of(argv[i]))) {
            (void)error_set(error, "a control character in a recipient");
            return -1;
        }
    return at;
}
