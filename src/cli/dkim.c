/* mailroot dkim: keys are made here, and what is to be put into DNS is shown. */
#include "cli/command.h"

#include "config/signer.h"
#include "message/address.h"

#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { RSA_BITS = 2048, TXT_STRING_MAX = 255 };

/* A TXT string has 255 octets at most: longer texts are several, which the reader joins. */
static void print_record(struct slice selector, struct slice domain, EVP_PKEY *key)
{
    struct buf text = {0};
    if (!dkim_record(key, &text, NULL))
        return;
    printf("%.*s._domainkey.%.*s. IN TXT (", SLICE_FMT(selector), SLICE_FMT(domain));
    for (struct slice rest = buf_slice(&text); rest.size;) {
        struct slice part = slice_first(rest, rest.size < TXT_STRING_MAX ? rest.size : TXT_STRING_MAX);
        printf(" \"%.*s\"", SLICE_FMT(part));
        rest = slice_from(rest, part.size);
    }
    printf(" )\n");
    buf_finish(&text);
}

static bool write_key(const char *path, EVP_PKEY *key, struct error *error)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    if (!file) {
        if (fd >= 0)
            close(fd);
        return error_set_errno(error, path);
    }
    bool is_done = PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1 && fflush(file) == 0 && fsync(fd) == 0;
    return (fclose(file) == 0 && is_done) || error_set(error, "%s: can't be written", path);
}

/* Makes one key, its file and its record; the path goes to `ret_path`. */
static bool make_key(const char *dir, const char *domain, const char *selector, EVP_PKEY *key, char ret_path[4096],
                     struct error *error)
{
    if (!key)
        return error_set(error, "OpenSSL could not make the key");
    (void)snprintf(ret_path, 4096, "%s/%s.%s.pem", dir, selector, domain);
    bool is_done = write_key(ret_path, key, error);
    if (is_done)
        print_record(slice_of(selector), slice_of(domain), key);
    EVP_PKEY_free(key);
    return is_done;
}

static int keygen(const char *domain_text, const char *selector, const char *dir)
{
    struct arena arena = {0};
    struct slice clean;
    struct error error;
    char rsa_path[4096], ed_path[4096], rsa_name[64], ed_name[64], absolute[4096], month[16];
    time_t now = time(NULL);
    struct tm tm;
    if (!address_domain(&arena, slice_of(domain_text), &clean, &error)) {
        arena_finish(&arena);
        return command_fail("dkim", EX_USAGE, "%s: %s", domain_text, error.text);
    }
    const char *domain = arena_text(&arena, clean);
    (void)strftime(month, sizeof month, "%Y%m", gmtime_r(&now, &tm));
    (void)snprintf(rsa_name, sizeof rsa_name, "%s-rsa", selector ? selector : month);
    (void)snprintf(ed_name, sizeof ed_name, "%s-ed", selector ? selector : month);
    bool is_done = (realpath(dir, absolute) || error_set_errno(&error, dir))
                   && make_key(absolute, domain, rsa_name, EVP_RSA_gen(RSA_BITS), rsa_path, &error)
                   && make_key(absolute, domain, ed_name, EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), ed_path, &error);
    if (is_done)
        printf("\n# for mailroot.conf, once the records above are in DNS (mailroot check compares them):\n"
               "dkim \"%s\" {\n    keys = \"%s:%s, %s:%s\"\n}\n", domain, rsa_name, rsa_path, ed_name, ed_path);
    arena_finish(&arena);
    return is_done ? EX_OK : command_fail("dkim", EX_CANTCREAT, "%s", error.text);
}

static int records(const struct command_options *options)
{
    struct error error;
    struct config *config = command_config(options);
    struct signer *signer = signer_open(config, &error);
    if (!signer)
        (void)command_fail("dkim", 0, "%s", error.text);
    for (size_t i = 0; signer && i < signer_count(signer); i++)
        print_record(signer_key(signer, i)->selector, signer_key(signer, i)->domain, signer_key(signer, i)->key);
    int code = signer ? EX_OK : EX_CONFIG;
    signer_close(&signer);
    config_destroy(&config);
    return code;
}

int command_dkim(int argc, char **argv)
{
    struct command_options options;
    const char *selector = NULL, *dir = ".", *domain = NULL;
    command_parse(&argc, argv, &options);
    if (argc == 2 && strcmp(argv[1], "records") == 0)
        return records(&options);
    if (argc < 3 || strcmp(argv[1], "keygen") != 0)
        return command_fail("dkim", EX_USAGE, "keygen DOMAIN, or records, was expected");
    for (int i = 2; i < argc; i++) {
        bool has_value = i + 1 < argc;
        if (strcmp(argv[i], "--selector") == 0 && has_value)
            selector = argv[++i];
        else if (strcmp(argv[i], "--dir") == 0 && has_value)
            dir = argv[++i];
        else if (argv[i][0] == '-' || domain)
            return command_fail("dkim", EX_USAGE, "%s: not expected here; see --help", argv[i]);
        else
            domain = argv[i];
    }
    return domain ? keygen(domain, selector, dir) : command_fail("dkim", EX_USAGE, "a domain was expected");
}
