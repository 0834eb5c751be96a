/* signer: the DKIM keys that the config names, read from their files, and the signing of one message with them.
 *
 *   dkim "example.com" { keys = "s1:/etc/mailroot/dkim/s1.pem, e1:/etc/mailroot/dkim/e1.pem" }
 *
 * G1  the domain of From chooses: its own section, else the longest one above it whose `subdomains` is true
 * G2  a message with 8-bit text is converted before it is signed: a hop without 8BITMIME would break the signature
 *     (PITFALLS 6). What can't be converted is signed as it is
 * G5  "s2:/file from 2026-12-31": of a section's keys of a kind (RSA, Ed25519) those sign whose day came last; the next one may
 *     stand there, and in DNS, long before it signs
 * G3  a key file that is missing, readable by everybody, or no RSA (1024 bits at least) or Ed25519 key is an error that names it
 * The secrets of sender addresses (config/return_path.h) are read with them.
 * Read once, by the process that signs; used by any thread. */
#ifndef MR_CONFIG_SIGNER_H
#define MR_CONFIG_SIGNER_H

#include "config/config.h"
#include "config/return_path.h"
#include "message/dkim.h"

struct signer;

/* NULL with an error that names the key's file. Without dkim sections it signs nothing. */
MUST_USE struct signer *signer_open(const struct config *config, struct error *error);
void signer_close(struct signer **signer);
size_t signer_count(const struct signer *signer); /* keys in all */
const struct dkim_key *signer_key(const struct signer *signer, size_t index);

const struct return_path *signer_return_path(const struct signer *signer); /* NULL for no signer */

struct signer_result {
    size_t added;    /* octets put in front; 0: nobody signs for that domain */
    bool is_7bit;    /* the body was converted */
};

/* G4  a folder may name the keys that sign what is dropped in it, as "domain/selector" or "domain" (all of that section), whatever
 *     From says; "off" signs nothing. Names are checked beforehand with signer_has() */
bool signer_has(const struct signer *signer, struct slice name);

/* Signs a canonical message in place; `named` is a folder's list (G4), NULL or empty: by From's domain. False with a reason: nothing was changed. */
MUST_USE bool signer_sign(const struct signer *signer, struct arena *arena, int64_t time_ms, const struct config_list *named,
                          struct buf *message, struct signer_result *ret_result, struct error *error);

#endif
