#include "store/fixture_server.h"

#include "store/fixture.h"

#include <errno.h>
#include <grp.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define PROGRAMS "/usr/lib/postgresql/15/bin"

static char folder[64], url[160];
static pid_t server;

/* The server refuses to run as root. */
static void become_nobody(void)
{
    const struct passwd *user = getpwnam("postgres");
    if (getuid() != 0)
        return;
    if (!user)
        user = getpwnam("nobody");
    if (!user || setgroups(0, NULL) != 0 || setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0)
        _exit(99);
}

static pid_t start(const char *const *words)
{
    pid_t child = fork();
    if (child != 0)
        return child;
    (void)setpgid(0, 0);
    become_nobody();
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* setuid() would have cleared it */
    if (chdir("/") != 0 || !freopen("/dev/null", "r", stdin) || !freopen("/dev/null", "w", stdout))
        _exit(98);
    if (!getenv("POSTGRES_LOUD") && !freopen("/dev/null", "w", stderr))
        _exit(98);
    execv(words[0], (char *const *)(uintptr_t)words);
    _exit(97);
}

static void end(void)
{
    if (server > 0) {
        (void)kill(server, SIGCONT);
        (void)kill(server, SIGQUIT);
        (void)waitpid(server, NULL, 0);
    }
    server = 0;
    fixture_remove_folder(folder);
}

static bool make(void)
{
    char data[80];
    int status;
    (void)snprintf(folder, sizeof folder, "/tmp/store-pg-XXXXXX");
    if (!mkdtemp(folder) || chmod(folder, 0777) != 0)
        return false;
    (void)snprintf(data, sizeof data, "%s/data", folder);
    const char *const make_words[] = {PROGRAMS "/initdb", "-D", data, "-U", "mailroot", "-A", "trust", "-E", "UTF8", "--no-locale",
                                      "--no-sync", NULL};
    pid_t initdb = start(make_words);
    if (waitpid(initdb, &status, 0) != initdb || status != 0)
        return false;
    const char *const words[] = {PROGRAMS "/postgres", "-D", data, "-k", folder, "-h", "", "-F", "-c", "shared_buffers=16MB",
                                 "-c", "max_connections=60", NULL};
    server = start(words);
    atexit(end);
    (void)snprintf(url, sizeof url, "postgresql://mailroot@/postgres?host=%s", folder);
    return true;
}

static bool is_ready(void)
{
    PGPing ping = PQping(url);
    for (int i = 0; i < 600 && ping != PQPING_OK; i++) {
        (void)usleep(50000);
        ping = PQping(url);
    }
    return ping == PQPING_OK;
}

const char *fixture_server_url(void)
{
    if (server > 0)
        return url;
    if (access(PROGRAMS "/postgres", X_OK) != 0) {
        fprintf(stderr, "\n*** NO POSTGRESQL 15 HERE (" PROGRAMS "): THE SHARED QUEUE IS NOT TESTED; ./check installs it ***\n\n");
        return NULL;
    }
    if (!make() || !is_ready())
        fail_msg("the test's PostgreSQL does not start (POSTGRES_LOUD=1 shows why)");
    return url;
}

static PGresult *ask(PGconn *connection, const char *sql)
{
    PGresult *result = PQexec(connection, sql);
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        fail_msg("%s: %s", sql, PQresultErrorMessage(result));
    return result;
}

static PGconn *open_it(void)
{
    PGconn *connection = PQconnectdb(url);
    if (PQstatus(connection) != CONNECTION_OK)
        fail_msg("%s", PQerrorMessage(connection));
    PQclear(ask(connection, "SET client_min_messages = error"));
    return connection;
}

void fixture_server_execute(const char *sql)
{
    PGconn *connection = open_it();
    PQclear(ask(connection, sql));
    PQfinish(connection);
}

int64_t fixture_server_number(const char *sql)
{
    PGconn *connection = open_it();
    PGresult *result = ask(connection, sql);
    int64_t number = PQntuples(result) ? strtoll(PQgetvalue(result, 0, 0), NULL, 10) : 0;
    PQclear(result);
    PQfinish(connection);
    return number;
}

void fixture_server_empty(void)
{
    fixture_server_execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public");
}

void fixture_server_signal(int number)
{
    CHECK(kill(-server, number) == 0);
}

void fixture_server_cut(void)
{
    fixture_server_execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                           " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'");
}

int fixture_open_shared(void **state)
{
    fixture_server_empty();
    return fixture_open_with(state, url);
}
