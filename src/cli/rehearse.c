/* mailroot rehearse FILE: what would become of the message if it were dropped into Pickup now (cli/rehearsal.h). */
#include "cli/command.h"
#include "cli/rehearsal.h"

#include "config/value.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { TIMEOUT_MS = 2 * 60 * 1000 };

static int tell(const json_t *verdict, bool is_json)
{
    struct buf words = {0};
    if (is_json) {
        (void)json_dumpf(verdict, stdout, JSON_COMPACT);
        (void)putchar('\n');
    } else {
        rehearsal_words(verdict, &words);
        (void)fwrite(buf_text(&words), 1, words.size, stdout);
    }
    buf_finish(&words);
    return rehearsal_code(verdict);
}

static int rehearse(const struct rehearsal_parts *parts, const char *path, bool is_json)
{
    struct error error = {{0}};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return command_fail("rehearse", EX_NOINPUT, "%s: %m", path);
    json_t *verdict = rehearsal_run(parts, fd, path, &error);
    int code = verdict ? tell(verdict, is_json) : command_fail("rehearse", EX_OSERR, "%s: %s", path, error.text);
    json_decref(verdict);
    close(fd);
    return code;
}

/* Keys that this user may not read cost the signature: then DKIM is judged as missing. */
static int rehearse_all(struct config *config, const struct folder_conf *folder, char **paths, int64_t timeout_ms, bool is_json)
{
    struct error error = {{0}};
    struct secrets *secrets = secrets_open(config, &error);
    if (!secrets)
        return command_fail("rehearse", EX_CONFIG, "%s", error.text);
    struct signer *signer = signer_open(config, &error);
    if (!signer)
        (void)command_fail("rehearse", 0, "not signed: %s", error.text);
    const struct rehearsal_parts parts = {config, folder, signer, secrets, "/tmp", timeout_ms};
    int code = EX_OK;
    for (; *paths; paths++) {
        int one = rehearse(&parts, *paths, is_json);
        code = code == EX_OK || one == EX_UNAVAILABLE ? one : code;
    }
    signer_close(&signer);
    secrets_close(&secrets);
    return code;
}

int command_rehearse(int argc, char **argv)
{
    struct command_options options;
    int64_t timeout_ms = TIMEOUT_MS;
    command_parse(&argc, argv, &options);
    const char *timeout = command_value(&argc, argv, "--timeout"), *folder_name = command_value(&argc, argv, "--folder");
    if (timeout && !value_duration(slice_of(timeout), &timeout_ms))
        return command_fail("rehearse", EX_USAGE, "%s: a duration such as 2m was expected", timeout);
    for (int i = 1; i < argc; i++)
        if (argv[i][0] == '-')
            return command_fail("rehearse", EX_USAGE, "%s: no such option", argv[i]);
    if (argc < 2)
        return command_fail("rehearse", EX_USAGE, "a file was expected");
    struct config *config = command_config(&options);
    struct folder_conf *folder = folder_name ? message_file_folder(config, "rehearse", folder_name) : NULL;
    int code = folder_name && !folder ? EX_CONFIG : rehearse_all(config, folder, argv + 1, timeout_ms, options.is_json);
    folder_conf_destroy(&folder);
    config_destroy(&config);
    return code;
}
