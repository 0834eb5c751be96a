/* fixture_server: a PostgreSQL of the test's own, in a folder in /tmp, reached by a UNIX socket there alone. */
#ifndef MR_STORE_FIXTURE_SERVER_H
#define MR_STORE_FIXTURE_SERVER_H

#include "base/error.h"

#include <stdint.h>

/* Started when it is first asked for; it ends with the program. NULL, said loudly, where the server program is not
 * installed. */
const char *fixture_server_url(void);
int fixture_open_shared(void **state);        /* as fixture_open(), on that server */
void fixture_server_empty(void);              /* no table is left */
void fixture_server_execute(const char *sql); /* fails the test if it fails */
int64_t fixture_server_number(const char *sql);
void fixture_server_signal(int number);       /* to all its processes: SIGSTOP, SIGCONT */
void fixture_server_cut(void);                /* ends every connection but the one that says it */

#endif
