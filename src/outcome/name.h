/* name: the name of a pickup file, made fit to name files of ours in Badmail and Receipts.
 *
 * N1  blanks, control octets and "/" become "_", and so does a leading "." or "-"
 * N2  never empty, at most OUTCOME_NAME_SIZE_MAX octets: room is left for a number and a suffix
 * Two names may become the same: who must not overwrite has to look. */
#ifndef MR_OUTCOME_NAME_H
#define MR_OUTCOME_NAME_H

#include "base/slice.h"

enum { OUTCOME_NAME_SIZE_MAX = 200 };

void outcome_name_clean(struct slice name, char ret_name[OUTCOME_NAME_SIZE_MAX + 1]);

#endif
