/* A route's user that is refused, or whose token is not there yet: what it means for a site. */
#include "os/clock.h"
#include "relay/relay_private.h"

enum { KEPT_GRACE_MS = 50 }; /* what is kept is due when its login may be tried again, not a moment before */

static bool has_login(const struct site *site, const struct route_host *host)
{
    return site->login && host->is_smart;
}

bool site_login_rests(const struct site *site, const struct route_host *host)
{
    return has_login(site, host) && login_state(site->login) >= LOGIN_RESTING;
}

/* A wrong password tried many times at once would lock the account. */
bool site_login_waits(const struct site *site, const struct route_host *host, size_t standing)
{
    return has_login(site, host)
           && (login_state(site->login) == LOGIN_WAITING || (standing > 0 && !login_is_proved(site->login)));
}

static const struct route_host *resting_host(const struct site *site, const struct job *job)
{
    for (size_t i = 0; i < job->route->usable_count; i++)
        if (site_login_rests(site, &job->route->hosts[i]))
            return &job->route->hosts[i];
    return NULL;
}

static void keep(const struct site *site, struct attempt *attempt)
{
    int64_t wait_ms = login_retry_ms(site->login) - clock_mono_ms();
    attempt->kind = RESULT_DEFERRED;
    attempt->is_kept = true;
    attempt->kept_until_ms = clock_wall_ms() + (wait_ms > 0 ? wait_ms : 0) + KEPT_GRACE_MS;
}

void site_login_keep(const struct site *site, const struct job *job, struct attempt *attempt)
{
    if (resting_host(site, job) && login_state(site->login) == LOGIN_SUSPENDED)
        keep(site, attempt);
}

bool site_login_note(struct site *site, const struct job *job)
{
    const struct route_host *host = resting_host(site, job);
    if (!host)
        return false;
    struct attempt attempt = {.kind = RESULT_DEFERRED, .stage = "auth", .status = SLICE(LOGIN_REFUSED_STATUS),
                              .text = slice_of(login_why(site->login)), .host = slice_of(host->name), .connect_ms = -1,
                              .transaction_ms = -1};
    if (login_state(site->login) == LOGIN_SUSPENDED)
        keep(site, &attempt);
    arena_reset(&site->arena);
    attempt_keep(&site->arena, &attempt, &site->failure);
    site->has_soft_failure = true;
    return true;
}

int64_t site_login_wait_ms(const struct site *site, int64_t otherwise_ms)
{
    int64_t wait_ms = site->failure.is_kept ? login_retry_ms(site->login) - clock_mono_ms() : otherwise_ms;
    return wait_ms < 0 ? 0 : wait_ms < otherwise_ms ? wait_ms : otherwise_ms;
}

void site_login_refused(struct site *site, const struct attempt *attempt, unsigned token_number)
{
    login_refused(site->login, attempt, token_number);
    site_touch(site);
}
