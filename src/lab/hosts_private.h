/* What the files of the lab's servers share: hosts.c (where they are, what they have had), visit.c (one connection). */
#ifndef MR_LAB_HOSTS_PRIVATE_H
#define MR_LAB_HOSTS_PRIVATE_H

#include "base/hash.h"
#include "lab/hosts.h"
#include "os/timer.h"
#include "smtp/sink.h"

enum { HOST_DELAY_MS = 20 };

struct stranger { char *key; int64_t since_ms; UT_hash_handle hh; }; /* sender and recipient, as greylisting sees them */

struct place {                 /* a host at work */
    const struct lab_host *host;
    struct stranger *strangers;
    int64_t *mails;            /* when they came, the latest last */
    size_t mail_count, mail_capacity;
    SSL_CTX *contexts[LAB_TLS_KINDS]; /* made when they are wanted */
};

struct hosts {
    struct play *play;
    const struct certificates *certificates;
    struct place *places;      /* as scenario->hosts */
    struct visit *visits;
};

struct visit {                 /* a connection, the server's end */
    struct hosts *hosts;
    struct place *place;
    struct stream *stream;
    int fd;                    /* the stream's */
    struct sink_options options;
    struct sink_session session;
    struct timer *timer;       /* the answer leaves then */
    struct buf sender;         /* of MAIL */
    bool is_silent;
    struct visit *next, *previous;
};

/* hosts.c */
const char *place_words(const struct place *place, struct play *play, enum lab_stage stage); /* NULL: as usual */
size_t place_open(const struct hosts *hosts, const struct place *place); /* connections that the relay has there now */
bool place_is_over_rate(struct place *place); /* counts one message more */
bool place_greylists(struct place *place, struct slice sender, struct slice recipient);

/* visit.c. `words` is what the place says at LAB_CONNECT; takes the socket. */
MUST_USE bool visit_begin(struct hosts *hosts, struct place *place, int fd, const char *words);
void visit_end(struct visit *visit);
static inline bool is_word(const char *words, const char *word) { return words && strcmp(words, word) == 0; }

#endif
