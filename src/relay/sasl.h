/* sasl: proving who we are to a server, one exchange at a time (libgsasl; OAuth's two mechanisms are our own).
 *   RFC 5802, 7677 (SCRAM), 2195 (CRAM-MD5), 4616 (PLAIN), LOGIN, 4422 A (EXTERNAL), 7628 (OAUTHBEARER), XOAUTH2
 *
 * A1  the strongest that both sides can do is taken: SCRAM-SHA-256, SCRAM-SHA-1, CRAM-MD5, PLAIN, LOGIN for a password;
 *     OAUTHBEARER, XOAUTH2 for a token; EXTERNAL only where `allowed` names it
 * A2  a SCRAM server proves itself too: until it has, sasl_is_proved() is false, whatever it claims
 * A3  no more than SCRAM_ROUNDS_MAX rounds of hashing are done for a server
 * A4  no secret stands in an error or in sasl_complaint(); what is sent is overwritten when the exchange ends
 * Pure, but for the library's random numbers. */
#ifndef MR_RELAY_SASL_H
#define MR_RELAY_SASL_H

#include "config/config.h"

enum { SCRAM_ROUNDS_MAX = 1000000 };

struct sasl_identity {
    const char *user;          /* NULL: EXTERNAL without one */
    const char *password, *token; /* one of them, or none */
    const char *host;
    int port;
    bool has_certificate;
};

/* A mechanism of the list (a name that stays), by A1; NULL if none will do. `allowed` empty: all. */
const char *sasl_choose(struct slice offered, const struct config_list *allowed, const struct sasl_identity *identity);
int sasl_strength(const char *mechanism); /* more is stronger */

struct sasl;
/* The first response in base64 goes to `out`; `*ret_has_first` false: the server begins. NULL with an error. */
MUST_USE struct sasl *sasl_begin(const char *mechanism, const struct sasl_identity *identity, struct buf *out, bool *ret_has_first,
                                 struct error *error);
/* To a challenge in base64 the response in base64. */
MUST_USE bool sasl_step(struct sasl *sasl, struct slice challenge, struct buf *out, struct error *error);
bool sasl_is_proved(const struct sasl *sasl); /* A2 */
const char *sasl_complaint(const struct sasl *sasl); /* what an OAuth server said is wrong; NULL: nothing */
void sasl_end(struct sasl **sasl);

#endif
