/* pam: passwords that PAM judges (pam(3)), asked by the listener of a process of its own.
 *
 *   listener's thread ──{name, password, client} and the end of a pipe──> pam process ──fork──> a child that asks PAM
 *                     <──────────────────────one octet through that pipe─────────────────────────┘
 *
 * PAM's modules read what is root's, start programs and sleep after a failure: none of that may happen where the network is
 * read. So that process stays who started it, is not confined, and sees nothing but these questions:
 * M1  a packet is three texts, each ended by NUL and of at most PAM_TEXT_SIZE_MAX octets, and one descriptor; any other is dropped
 * M2  each question has a child of its own, which lives PAM_CHILD_S at most; more than PAM_CHILDREN_MAX at once are not judged
 * M3  no answer (the child died, was too many, or too slow) is no refusal: the client is told to come back (454)
 * M4  no password is written anywhere; memory that held one is wiped
 * `service` is a name of /etc/pam.d, or the path of such a file. */
#ifndef MR_SMTPD_PAM_H
#define MR_SMTPD_PAM_H

#include "base/error.h"

#include <signal.h>

enum { PAM_TEXT_SIZE_MAX = 300, PAM_CHILDREN_MAX = 8, PAM_CHILD_S = 25 };
enum pam_verdict { PAM_PASSED, PAM_REFUSED, PAM_NO_ANSWER };

/* The listener's side; may wait PAM_CHILD_S and a little more. From any thread. `fd`: its end of the link. */
enum pam_verdict pam_ask(int fd, const char *name, const char *password, const char *client);
/* The process's side: serves until one of `ends` comes, and returns it. */
int pam_serve(int fd, const char *service, const sigset_t *ends);

#endif
