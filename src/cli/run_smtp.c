#include "cli/run_smtp.h"

#include "cli/identity.h"
#include "cli/supervise.h"
#include "smtpd/smtpd.h"

#include <signal.h>
#include <sys/stat.h>

bool run_smtp_is_wanted(const struct config *config)
{
    return config->smtp.listen.count > 0;
}

int run_smtp_main(const struct command_options *options)
{
    struct config *config = command_config(options);
    struct error error;
    int code = 0;
    signal(SIGPIPE, SIG_IGN);
    (void)umask(027);
    identity_raise_limits();
    struct smtpd *smtpd = smtpd_open(config, &error);
    if (!smtpd || !identity_make_folders(config, &error) || !identity_become(config, &error)
        || !smtpd_run(smtpd, ROLE_RELOAD, &code, &error))
        code = command_fail("smtp", EX_CONFIG, "%s", error.text);
    if (smtpd)
        smtpd_close(&smtpd);
    config_destroy(&config);
    return code;
}
