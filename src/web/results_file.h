/* results_file: U-File, kept under one folder.   frontpage.h S4
 * A file is written anew and renamed over the old one, synced: a crash leaves the old or the new. One writer at a time. */
#ifndef MR_WEB_RESULTS_FILE_H
#define MR_WEB_RESULTS_FILE_H

#include "web/gather.h"

/* All results files of the form; true too if it has none. `page` is its path, for titles. */
MUST_USE bool results_file_write(const struct gathered *gathered, const char *folder, struct slice page,
                                 const struct results *results, struct error *error);
/* U-File as a plain name in that folder: "_private/x.txt" and "C:\web\x.txt" are "_private_x.txt" and "x.txt"; absent if nothing
 * is left. */
struct slice results_file_name(struct arena *arena, struct slice wanted);

#endif
