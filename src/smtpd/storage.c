/* A session's jobs for the pool: pieces of content into its pickup file, a step of AUTH. */
#include "smtpd/inbound.h"

#include <errno.h>
#include <stddef.h>

static struct session *session_of(struct pool_job *job)
{
    return (struct session *)((char *)job - offsetof(struct session, job));
}

static void job_done(struct letter *letter)
{
    struct session *session = session_of((struct pool_job *)((char *)letter - offsetof(struct pool_job, done)));
    session->has_job = false;
    session_continue(session);
}

static void submit(struct session *session, void (*work)(struct pool_job *job))
{
    session->has_job = true;
    session->job = (struct pool_job){.work = work, .done.run = job_done};
    pool_submit(session->smtpd->pool, &session->job);
}

/* On a thread of the pool. The server is not fed meanwhile, so that its envelope and bytes stay. */
static void store(struct pool_job *job)
{
    struct session *session = session_of(job);
    const struct server *server = &session->server;
    struct slice bytes = server->store.bytes;
    const struct submission *submission = session->inbound ? inbound_submission(session, &bytes) : server_submission(server);
    errno = 0;
    if (!session->file)
        session->file = pickup_file_begin(session->smtpd->folder, submission, &session->error);
    bool is_done = session->file && pickup_file_append(session->file, bytes, &session->error)
                   && (!server->store.is_last || pickup_file_commit(&session->file, session->name, &session->error));
    session->stored = is_done ? STORED_SAFE : errno == ENOSPC || errno == EDQUOT ? STORED_NO_SPACE : STORED_FAILED;
    if (!is_done)
        pickup_file_abandon(&session->file);
}

static void try_password(struct pool_job *job)
{
    struct session *session = session_of(job);
    const struct server *server = &session->server;
    if (!session->auth)
        session->auth = auth_begin(session->smtpd->auth, server->auth.mechanism, session->peer.address_text);
    session->verdict = auth_step(session->auth, server->auth.response, &session->auth_out);
    if (session->verdict != AUTH_CHALLENGE)
        auth_end(&session->auth);
}

void storage_submit(struct session *session)
{
    submit(session, store);
}

void storage_auth(struct session *session)
{
    submit(session, try_password);
}

void storage_drop(struct session *session)
{
    pickup_file_abandon(&session->file);
}
