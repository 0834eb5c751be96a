#include "cli/command.h"
#include "cli/sink_server.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { THREADS_MAX = 64 };

struct settings { /* the command line */
    const char *address, *log_file, *cert_file, *key_file, *hidden;
    bool is_counting, is_tls;
    uint64_t thread_count;
    struct sink_server *server;
    struct sink_recorder *recorder;
};

static const struct {
    const char *name;
    unsigned extension;
} extension_names[] = {
    {"pipelining", SMTP_PIPELINING},
    {"8bitmime", SMTP_8BITMIME},
    {"chunking", SMTP_CHUNKING},
    {"smtputf8", SMTP_SMTPUTF8},
    {"dsn", SMTP_DSN},
    {"size", SMTP_SIZE},
    {"starttls", SMTP_STARTTLS},
    {"enhancedstatuscodes", SMTP_ENHANCEDSTATUSCODES},
};

/* Removes the listed extensions; false at an unknown name, which is put into `error`. */
static bool extensions_remove(const char *list, unsigned *extensions, struct error *error)
{
    struct slice rest = slice_of(list);

    while (rest.size > 0) {
        struct slice name = slice_cut(&rest, ',');
        bool is_known = false;
        for (size_t i = 0; i < COUNT_OF(extension_names); i++) {
            if (slice_equals_nocase(name, slice_of(extension_names[i].name))) {
                *extensions &= ~extension_names[i].extension;
                is_known = true;
            }
        }
        if (!is_known)
            return error_set(
                error,
                "--no-ext: %.*s is not one of pipelining, 8bitmime, chunking, smtputf8, dsn, size, "
                "starttls, enhancedstatuscodes",
                SLICE_FMT(name));
    }
    return true;
}

static bool number_read(const char *text, uint64_t max, uint64_t *ret_number, struct error *error)
{
    uint64_t number;

    if (!slice_to_u64(slice_of(text), &number) || number > max)
        return error_set(error, "%s is not a number up to %llu", text, (unsigned long long)max);
    *ret_number = number;
    return true;
}

/* "25:550" */
static bool rejection_read(const char *text, struct sink_options *options, struct error *error)
{
    struct slice code_text = slice_of(text);
    struct slice percent_text = slice_cut(&code_text, ':');
    uint64_t percent, code;

    if (!slice_to_u64(percent_text, &percent) || percent > 100 || !slice_to_u64(code_text, &code)
        || code < 400 || code > 599)
        return error_set(error, "--fail-rcpt: %s is not PERCENT:CODE, as 25:550", text);
    options->reject_percent = (unsigned)percent;
    options->reject_code = (int)code;
    return true;
}

static const struct option long_options[] = {
    {"listen", required_argument, NULL, 'l'},
    {"dir", required_argument, NULL, 'd'},
    {"count", no_argument, NULL, 'c'},
    {"hash", no_argument, NULL, 'h'},
    {"log", required_argument, NULL, 'o'},
    {"latency", required_argument, NULL, 'y'},
    {"fail-rcpt", required_argument, NULL, 'f'},
    {"drop", required_argument, NULL, 'p'},
    {"no-ext", required_argument, NULL, 'x'},
    {"cert", required_argument, NULL, 'C'},
    {"key", required_argument, NULL, 'K'},
    {"tls", no_argument, NULL, 't'},
    {"threads", required_argument, NULL, 'n'},
    {"exit-after", required_argument, NULL, 'e'},
    {0},
};

static bool option_take(int letter, struct settings *settings, struct error *error)
{
    struct sink_server *server = settings->server;
    uint64_t number = 0;

    switch (letter) {
    case 'l': settings->address = optarg; return true;
    case 'd': settings->recorder->dir = optarg; return true;
    case 'c': settings->is_counting = true; return true;
    case 'h': settings->recorder->is_hashing = true; return true;
    case 'o': settings->log_file = optarg; return true;
    case 'f': return rejection_read(optarg, &server->options, error);
    case 'x': settings->hidden = optarg; return true;
    case 'C': settings->cert_file = optarg; return true;
    case 'K': settings->key_file = optarg; return true;
    case 't': settings->is_tls = true; return true;
    case 'e': return number_read(optarg, UINT64_MAX, &server->exit_after, error);
    case 'n': return number_read(optarg, THREADS_MAX, &settings->thread_count, error);
    case 'y':
        if (!number_read(optarg, 3600 * 1000, &number, error))
            return false;
        server->latency_ms = (int64_t)number;
        return true;
    case 'p':
        if (!number_read(optarg, 100, &number, error))
            return false;
        server->drop_percent = (unsigned)number;
        return true;
    default: return error_set(error, "unknown option; --help lists them");
    }
}

static bool settings_read(int argc, char **argv, struct settings *settings, struct error *error)
{
    int letter;

    opterr = 0;
    optind = 1;
    while ((letter = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (!option_take(letter, settings, error))
            return false;
    }
    if (optind < argc)
        return error_set(error, "%s: no operand is expected", argv[optind]);
    return true;
}

static bool recorder_open(struct settings *settings, struct error *error)
{
    struct sink_recorder *recorder = settings->recorder;

    if (settings->log_file)
        recorder->log_fd =
            open(settings->log_file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    else if (recorder->is_hashing)
        recorder->log_fd = STDOUT_FILENO;
    if (settings->log_file && recorder->log_fd < 0)
        return error_set_errno(error, settings->log_file);
    if (recorder->dir && access(recorder->dir, W_OK | X_OK) < 0)
        return error_set_errno(error, recorder->dir);
    settings->server->options.keep = sink_record_keep(recorder);
    return true;
}

static bool server_open(struct settings *settings, struct error *error)
{
    struct sink_server *server = settings->server;
    int port;

    if ((settings->is_tls || settings->cert_file)
        && !sink_server_tls(server, settings->cert_file, settings->key_file, error))
        return false;
    if (settings->hidden
        && !extensions_remove(settings->hidden, &server->options.extensions, error))
        return false;
    server->stop_fd = eventfd(0, EFD_CLOEXEC);
    if (server->stop_fd < 0)
        return error_set_errno(error, "eventfd");
    if (!sink_server_listen(server, settings->address, &port, error))
        return false;
    struct slice host = slice_of(settings->address);
    host.size = (size_t)(strrchr(settings->address, ':') - settings->address);
    printf("listening on %.*s:%d\n", SLICE_FMT(host), port);
    (void)fflush(stdout); /* whoever reads the line waits for it; a closed stdout is their choice */
    return true;
}

static void totals_print(struct sink_recorder *recorder)
{
    struct buf out = {0};

    sink_record_print_totals(recorder, &out);
    (void)fwrite(out.data, 1, out.size, stdout); /* as above */
    (void)fflush(stdout);                        /* as above */
    buf_finish(&out);
}

struct signal_watch {
    sigset_t signals;
    struct settings *settings;
};

/* Signals are waited for by a thread of their own, so that no handler is needed. */
static void *signals_run(void *arg)
{
    struct signal_watch *watch = arg;
    uint64_t one = 1;
    int number;

    for (;;) {
        if (sigwait(&watch->signals, &number) != 0)
            continue;
        if (number == SIGUSR1) {
            totals_print(watch->settings->recorder);
        } else {
            CHECK(write(watch->settings->server->stop_fd, &one, sizeof one) == sizeof one);
            return NULL;
        }
    }
}

static void *server_thread(void *arg)
{
    struct error error;

    if (!sink_server_run(arg, &error))
        fprintf(stderr, "mailroot sink: %s\n", error.text);
    return NULL;
}

/* Runs all threads to their end. */
static void serve(struct settings *settings)
{
    struct signal_watch watch = {.settings = settings};
    pthread_t signals, threads[THREADS_MAX];
    uint64_t count = settings->thread_count > 0 ? settings->thread_count : 1;

    sigemptyset(&watch.signals);
    sigaddset(&watch.signals, SIGTERM);
    sigaddset(&watch.signals, SIGINT);
    sigaddset(&watch.signals, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &watch.signals, NULL);
    CHECK(pthread_create(&signals, NULL, signals_run, &watch) == 0);
    for (uint64_t i = 0; i < count; i++)
        CHECK(pthread_create(&threads[i], NULL, server_thread, settings->server) == 0);
    for (uint64_t i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    (void)pthread_cancel(signals); /* already over after SIGTERM */
    pthread_join(signals, NULL);
}

int command_sink(int argc, char **argv)
{
    struct sink_recorder recorder = {.log_fd = -1, .mutex = PTHREAD_MUTEX_INITIALIZER};
    struct sink_server server = {
        .options = {.host = "sink.mailroot",
                    .extensions = SMTP_PIPELINING | SMTP_SIZE | SMTP_8BITMIME | SMTP_SMTPUTF8
                                  | SMTP_CHUNKING | SMTP_DSN | SMTP_ENHANCEDSTATUSCODES},
        .recorder = &recorder,
        .listen_fd = -1,
        .stop_fd = -1,
    };
    struct settings settings = {
        .address = "127.0.0.1:2525", .server = &server, .recorder = &recorder};
    struct command_options common; /* --help is all that matters here */
    struct error error;

    command_parse(&argc, argv, &common);
    if (!settings_read(argc, argv, &settings, &error))
        return command_fail("sink", EX_USAGE, "%s", error.text);
    if (!recorder_open(&settings, &error) || !server_open(&settings, &error))
        return command_fail("sink", EX_UNAVAILABLE, "%s", error.text);
    serve(&settings);
    if (settings.is_counting)
        totals_print(&recorder);
    SSL_CTX_free(server.tls);
    close(server.listen_fd);
    close(server.stop_fd);
    buf_finish(&recorder.lines);
    pthread_mutex_destroy(&recorder.mutex);
    return EX_OK;
}
