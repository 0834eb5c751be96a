/* site: the folder of a site's pages: which file a path of a request means, and nothing outside of it.
 *
 * D1  paths are resolved once; "..", ".", empty and dot-names, "\", NUL and other controls are no such page
 * D2  files are opened beneath the folder without following links (openat2), plain files only, at most 8 MiB
 * D3  only kinds of the table are given out: no source of a script, no results file; of _private only pages with forms
 * D4  a folder means its index.htm, index.html, default.htm */
#ifndef MR_WEB_SITE_H
#define MR_WEB_SITE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

enum { SITE_FILE_SIZE_MAX = 8 << 20 };

struct site_file { struct buf content; const char *type; bool is_page; struct slice path; };

/* `path` is unescaped and begins with "/". False: no such page. The caller finishes content. */
MUST_USE bool site_open(const char *folder, struct arena *arena, struct slice path, struct site_file *ret_file);
/* "/a/b.htm" and "../c.htm" -> "/c.htm"; absent if it leaves the site. */
struct slice site_resolve(struct arena *arena, struct slice base, struct slice reference);

#endif
