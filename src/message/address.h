/* address: mailboxes as people and programs write them, read into what SMTP can use.
 *   RFC 5322 3.4 and 4.4 (obsolete forms), RFC 5321 4.1.2 (paths, literals), RFC 6531, RFC 6854 (groups)
 *
 * A1  `text` is the address as it goes into an SMTP path: local part quoted only where it must be
 *     ("abc" becomes abc, "a b" stays quoted, quoted pairs only where needed), no comments, no blanks, no
 *     source route; domain lower-case ASCII (A-labels, IDNA2008 non-transitional by libidn2) or a literal
 *     in brackets. The local part keeps its case; it may be UTF-8 (is_utf8_local).
 * A2  an encoded-word in a local part or domain stays what it is: plain characters, never decoded
 * A3  no control octet and no NUL can be part of an address, quoted or not
 * A4  limits: local part 64 octets, domain 255, path 256 (RFC 5321 4.5.3.1)
 * Results live in the arena. Linear time, bounded nesting of comments. */
#ifndef MR_MESSAGE_ADDRESS_H
#define MR_MESSAGE_ADDRESS_H

#include "base/arena.h"
#include "base/error.h"

struct address {
    struct slice text;    /* local@domain, see A1; just the local part if there is no domain */
    struct slice local;   /* the part of text before the last "@" */
    struct slice domain;  /* the part after it, empty for a bare local name */
    struct slice display; /* display name as written (quotes removed, not decoded), absent if none */
    bool is_utf8_local;   /* needs SMTPUTF8 */
};

struct address_list {
    struct address *items;
    size_t count;
    struct address_fault { struct slice text; const char *reason; } *faults; /* mailboxes that are none */
    size_t fault_count;
};

/* The addresses of a To, Cc, Bcc, From, Sender, Reply-To value (folds allowed). Groups give their members;
 * an empty group none. What can't be read becomes a fault and the list goes on behind the next comma.
 * Lenient where real writers are: `;` as separator outside groups, `Company<a@b>`, `a@b (Name)`, a bare
 * addr-spec before more words, trailing or doubled commas, missing `>` at the end.
 * `count_max` bounds items plus faults; beyond it the result is false with a reason. */
MUST_USE bool address_list_parse(struct arena *arena, struct slice value, size_t count_max,
                                 struct address_list *ret_list, struct error *error);

/* One address alone: local@domain, or a bare local part, with or without angle brackets; nothing else. */
MUST_USE bool address_parse(struct arena *arena, struct slice text, struct address *ret_address,
                            struct error *error);

/* Gives a bare local name `domain` (lower-case ASCII); leaves others as they are. */
void address_qualify(struct arena *arena, struct slice domain, struct address *address);

/* A domain as on the wire: IDN to A-labels, lower case, trailing dot removed; literals checked. */
MUST_USE bool address_domain(struct arena *arena, struct slice text, struct slice *ret_domain,
                             struct error *error);
/* "b.a.test" is below "a.test", which is not below itself; in any case. */
bool address_is_below(struct slice domain, struct slice top);

#endif
