/* sendmail_bs: `sendmail -bs`, SMTP on standard input and output, for a program of this machine.
 * The same machine as the listener's (smtpd/server.h D7). A LF alone ends a line too: what speaks here may be a shell script. */
#ifndef MR_CLI_SENDMAIL_BS_H
#define MR_CLI_SENDMAIL_BS_H

#include "config/config.h"

/* Serves until QUIT or the end of the input; an exit code of sysexits(3). */
int sendmail_bs(const struct config *config);

#endif
