#include "lab/hosts_private.h"

#include "base/mem.h"
#include "os/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- what a host says now, and what it has had ---- */

static bool has_words(const struct lab_phase *phase, int stage) { return phase->says[stage] != NULL; }

const char *place_words(const struct place *place, struct play *play, enum lab_stage stage)
{
    const struct lab_phase *phase = play_phase(play, &place->host->phases, has_words, (int)stage);
    return phase ? phase->says[stage] : NULL;
}

bool place_is_over_rate(struct place *place)
{
    const struct config_rates *rates = &place->host->rates;
    int64_t now_ms = clock_mono_ms();
    for (size_t i = 0; i < rates->count; i++) {
        size_t first = place->mail_count > (size_t)rates->items[i].count ? place->mail_count - (size_t)rates->items[i].count : 0;
        if (place->mail_count >= (size_t)rates->items[i].count && now_ms - place->mails[first] < rates->items[i].span_ms)
            return true;
    }
    if (place->mail_count == place->mail_capacity) {
        place->mail_capacity = place->mail_capacity ? 2 * place->mail_capacity : 64;
        place->mails = mem_resize(place->mails, place->mail_capacity * sizeof *place->mails);
    }
    place->mails[place->mail_count++] = now_ms;
    return false;
}

bool place_greylists(struct place *place, struct slice sender, struct slice recipient)
{
    struct buf key = {0};
    struct stranger *stranger;
    if (place->host->greylist_ms == 0)
        return false;
    buf_printf(&key, "%.*s %.*s", SLICE_FMT(sender), SLICE_FMT(recipient));
    HASH_FIND(hh, place->strangers, buf_text(&key), key.size, stranger);
    if (!stranger) {
        stranger = mem_alloc(sizeof *stranger);
        stranger->since_ms = clock_mono_ms();
        stranger->key = slice_copy(buf_slice(&key));
        HASH_ADD_KEYPTR(hh, place->strangers, stranger->key, key.size, stranger);
    }
    buf_finish(&key);
    return clock_mono_ms() - stranger->since_ms < place->host->greylist_ms;
}

size_t place_open(const struct hosts *hosts, const struct place *place)
{
    size_t count = 0;
    for (const struct visit *visit = hosts->visits; visit; visit = visit->next) {
        struct pollfd peer = {.fd = visit->fd, .events = POLLRDHUP}; /* it may have hung up, and nobody has looked yet */
        count += visit->place == place && (poll(&peer, 1, 0) == 0 || !(peer.revents & (POLLRDHUP | POLLHUP)));
    }
    return count;
}

/* ---- the network ---- */

static struct place *place_at(struct hosts *hosts, const struct sockaddr *to)
{
    const struct scenario *scenario = hosts->play->scenario;
    char text[INET6_ADDRSTRLEN] = "";
    if (to->sa_family == AF_INET)
        (void)inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)to)->sin_addr, text, sizeof text);
    else if (to->sa_family == AF_INET6)
        (void)inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)to)->sin6_addr, text, sizeof text);
    for (size_t i = 0; i < scenario->host_count; i++)
        for (size_t k = 0; k < scenario->hosts[i].addresses.count; k++)
            if (strcmp(scenario->hosts[i].addresses.items[k], text) == 0)
                return &hosts->places[i];
    return NULL;
}

static struct stream_end dial(void *arg, const struct sockaddr *to, const struct sockaddr *from)
{
    struct hosts *hosts = arg;
    struct place *place = place_at(hosts, to);
    const char *words = place ? place_words(place, hosts->play, LAB_CONNECT) : "unreachable";
    struct stream_end end = {.fd = -1, .after_ms = HOST_DELAY_MS};
    int pair[2];
    (void)from;
    if (is_word(words, "silent"))
        return end;
    if (is_word(words, "refused") || is_word(words, "unreachable")) {
        end.problem = is_word(words, "refused") ? ECONNREFUSED : EHOSTUNREACH;
        return end;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0) {
        end.problem = errno;
        return end;
    }
    if (visit_begin(hosts, place, pair[1], words))
        end.fd = pair[0];
    else
        end.problem = ENOBUFS;
    if (end.fd < 0)
        close(pair[0]);
    return end;
}

struct hosts *hosts_create(struct play *play, const struct certificates *certificates)
{
    struct hosts *hosts = mem_alloc(sizeof *hosts);
    hosts->play = play;
    hosts->certificates = certificates;
    hosts->places = mem_alloc((play->scenario->host_count + 1) * sizeof *hosts->places);
    for (size_t i = 0; i < play->scenario->host_count; i++)
        hosts->places[i].host = &play->scenario->hosts[i];
    return hosts;
}

struct network hosts_network(struct hosts *hosts)
{
    return (struct network){dial, hosts};
}

void hosts_destroy(struct hosts **hosts)
{
    struct hosts *h = *hosts;
    if (!h)
        return;
    while (h->visits)
        visit_end(h->visits);
    for (size_t i = 0; i < h->play->scenario->host_count; i++) {
        struct stranger *stranger, *next;
        HASH_ITER(hh, h->places[i].strangers, stranger, next) {
            HASH_DEL(h->places[i].strangers, stranger);
            free(stranger->key);
            free(stranger);
        }
        for (size_t k = 0; k < LAB_TLS_KINDS; k++)
            SSL_CTX_free(h->places[i].contexts[k]);
        free(h->places[i].mails);
    }
    free(h->places);
    free(h);
    *hosts = NULL;
}
