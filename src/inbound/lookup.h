/* lookup: what a check asked DNS and was told, so that the checks stay pure.
 *
 * A check calls lookup_get(). NULL means that the answer isn't known yet: the question is noted, the check says that it waits,
 * and is run again from its start when the driver has filled in the answers. A check is cheap, and asks at most some dozens
 * of questions, so that nothing has to remember how far it had come.
 *
 *   do { result = check(…, &lookups); ask what is open, fill it in; } while (result waits);
 *
 * Records are in these forms: A 4 octets, AAAA 16, MX and PTR the host's name as text, TXT its strings in one piece.
 * All is in the arena of the lookups; one owner at a time. */
#ifndef MR_INBOUND_LOOKUP_H
#define MR_INBOUND_LOOKUP_H

#include "base/arena.h"

enum { LOOKUPS_MAX = 300, LOOKUP_RECORDS_MAX = 100 };
enum lookup_status { LOOKUP_OPEN, LOOKUP_FOUND, LOOKUP_NONE, LOOKUP_FAILED };

struct lookup {
    struct slice name;          /* lower case, without the last dot */
    int type;                   /* as in DNS: 1, 12, 15, 16, 28 */
    enum lookup_status status;  /* NONE: no such name, or nothing of that type */
    bool is_asked;              /* the driver's */
    struct slice *records;
    size_t count;
};

struct lookups {
    struct arena arena;
    struct lookup *items[LOOKUPS_MAX];
    size_t count;
    struct lookup failed;       /* what one question too many gets */
    bool is_over;               /* time is over: what isn't known has failed */
};

const struct lookup *lookup_get(struct lookups *lookups, struct slice name, int type);
/* The driver's answer; `records` are copied. */
void lookup_fill(struct lookups *lookups, struct lookup *lookup, enum lookup_status status, const struct slice *records,
                 size_t count);
/* Everything open has failed, and what is asked from now on fails at once. */
void lookups_give_up(struct lookups *lookups);
bool lookups_are_open(const struct lookups *lookups);
void lookups_finish(struct lookups *lookups);

#endif
