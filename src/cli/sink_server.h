/* sink_server: the sockets of `mailroot sink`: one epoll loop a thread around smtp/sink.h.
 *
 * Level-triggered, one read an event. A connection's answers are written before more of its input
 * is read; with `latency_ms` they wait that long first, as if each were that far away. */
#ifndef MR_CLI_SINK_SERVER_H
#define MR_CLI_SINK_SERVER_H

#include "cli/sink_record.h"

#include <openssl/ssl.h>

struct sink_server {
    struct sink_options options;
    struct sink_recorder *recorder;
    SSL_CTX *tls; /* NULL: STARTTLS is not offered */
    int listen_fd;
    int stop_fd; /* eventfd: readable ends every thread's loop */
    int64_t latency_ms;
    unsigned drop_percent; /* messages taken, then the connection is closed without an answer */
    uint64_t exit_after;   /* messages; 0 = none */
};

/* Listens on "address:port" ("[::1]:0"); the port that was given in *ret_port. */
MUST_USE bool sink_server_listen(struct sink_server *server, const char *address, int *ret_port,
                                 struct error *error);
/* Serves until stop_fd is readable. */
MUST_USE bool sink_server_run(struct sink_server *server, struct error *error);
/* A certificate from files, or one made for this run when both are NULL. */
MUST_USE bool sink_server_tls(struct sink_server *server, const char *cert_file,
                              const char *key_file, struct error *error);

#endif
