/* For cppcheck, which can't see through uthash's loops (tests/lint). */
#define HASH_ITER(hh, head, el, tmp) \
    for ((el) = (head), (tmp) = (head) ? (head)->hh.next : 0; (el); (el) = (tmp), (tmp) = (tmp) ? (tmp)->hh.next : 0)
