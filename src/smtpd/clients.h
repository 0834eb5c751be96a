/* clients: what each client address has open and has done in the running minute.
 *
 * N1  an IPv6 client is its /64: one customer has as many addresses as it likes
 * N2  limits of 0 are none; those who may relay are not limited, but for tried passwords
 * N3  after AUTH_TRIES_MAX failed tries in a minute no password of that client is looked at until the minute is over */
#ifndef MR_SMTPD_CLIENTS_H
#define MR_SMTPD_CLIENTS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

enum { CLIENTS_AUTH_TRIES_MAX = 10 };

struct clients;
struct client;
struct clients_limits { int connections, connections_per_minute, messages_per_minute; };

struct clients *clients_create(const struct clients_limits *limits);
void clients_destroy(struct clients **clients);
/* Counts a connection; NULL when it is one too many (`ret_reply` says why). */
struct client *clients_enter(struct clients *clients, const struct in6_addr *address, bool is_limited, int64_t now_ms,
                            const char **ret_reply);
void clients_leave(struct clients *clients, struct client *client, int64_t now_ms);
bool clients_may_send(struct clients *clients, struct client *client, int64_t now_ms);
void clients_sent(struct client *client);
bool clients_may_try(struct client *client, int64_t now_ms);
void clients_failed(struct client *client);

#endif
