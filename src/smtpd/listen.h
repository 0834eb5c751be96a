/* listen: the sockets of `smtp.listen`, opened while the process may still have the right to.
 *
 *   ADDRESS:PORT[/starttls][/tls][/auth]    "127.0.0.1:25", "[::1]:587/starttls/auth", ":465/tls" (every address)
 *   systemd[:NAME][/…]                      sockets that systemd holds (sd_listen_fds(3)), all or those of that name
 * /starttls: no mail before STARTTLS. /tls: TLS from the first octet. /auth: no mail before AUTH. */
#ifndef MR_SMTPD_LISTEN_H
#define MR_SMTPD_LISTEN_H

#include "config/config.h"

struct listen_socket {
    int fd;                   /* listening, non-blocking */
    bool is_tls_demanded, is_tls_implicit, is_auth_demanded;
};

struct listen_sockets { struct listen_socket *items; size_t count; };

/* Reads the list alone: whether its entries are well-formed. */
MUST_USE bool listen_check(const struct config_list *list, struct error *error);
MUST_USE bool listen_open(const struct config_list *list, struct listen_sockets *ret_sockets, struct error *error);
void listen_close(struct listen_sockets *sockets);

#endif
