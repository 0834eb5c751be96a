#include "cli/run_smtp.h"

#include "cli/confine.h"
#include "cli/identity.h"
#include "cli/supervise.h"
#include "smtpd/smtpd.h"

#include <signal.h>
#include <sys/stat.h>

bool run_smtp_is_wanted(const struct config *config)
{
    return config->smtp.listen.count > 0;
}

/* The relay says what is wrong with the config; what is wrong with the listener's part is said here. */
static bool may_reload(void *arg)
{
    const struct command_options *options = arg;
    struct buf report = {0};
    struct config *config = config_load(options->config_file, options->settings, options->setting_count, &report);
    struct error error;
    bool is_fine = config != NULL;
    if (config && !smtpd_check(config, &error)) {
        (void)command_fail("smtp", 0, "the old config stays: %s", error.text);
        is_fine = false;
    }
    config_destroy(&config);
    buf_finish(&report);
    return is_fine;
}

int run_smtp_main(const struct command_options *options)
{
    struct config *config = command_config(options);
    struct error error;
    enum smtpd_end how = SMTPD_ENDED;
    int code = 0;
    signal(SIGPIPE, SIG_IGN);
    (void)umask(027);
    identity_raise_limits();
    struct smtpd *smtpd = smtpd_open(config, &options->link, &options->pam_link, &error);
    if (!smtpd || !identity_make_folders(config, &error) || !identity_become(config, &error)
        || !smtpd_open_folder(smtpd, &error) || !confine_listener(config, &error))
        code = command_fail("smtp", EX_CONFIG, "%s", error.text);
    else if (!smtpd_run(smtpd, may_reload, (void *)(uintptr_t)options, &how, &error))
        code = command_fail("smtp", EX_TEMPFAIL, "%s", error.text); /* what it lacks now may be there in a second */
    else if (how == SMTPD_RELOADS)
        code = ROLE_RELOAD;
    if (smtpd)
        smtpd_close(&smtpd);
    config_destroy(&config);
    return code;
}
