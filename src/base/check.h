/* check: programmer errors, always on.
 *
 * CHECK(condition) states what the code relies on. When it does not hold the program says where and
 * aborts: the durable queue makes that a delay, not a loss. What the world can do wrong (disk, network,
 * input) is never CHECKed: it is a struct error or an outcome. */
#ifndef MR_BASE_CHECK_H
#define MR_BASE_CHECK_H

#define MUST_USE __attribute__((warn_unused_result))
#ifdef __MINGW32__ /* libcdonts on Windows: its printf family is made C99's, so the check must be too */
#define FORMAT(string_index, first) __attribute__((format(gnu_printf, string_index, first)))
#else
#define FORMAT(string_index, first) __attribute__((format(printf, string_index, first)))
#endif
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#define CHECK(condition) \
    ((condition) ? (void)0 : check_failed(#condition, __FILE__, __LINE__, __func__))

_Noreturn void check_failed(const char *condition, const char *file, int line, const char *function);

#endif
