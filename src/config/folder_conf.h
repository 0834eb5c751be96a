/* folder_conf: folder.conf, what a sub-folder of Pickup says of the files dropped in it.
 *
 *   senders = ["orders@shop.example", "*@news.shop.example"]     rate = "10/1s"        hold = true
 *   owner "www-data" { senders = ["orders@shop.example"]; quota = "500/1d" }           group "billing" { … }
 *
 * Same syntax as mailroot.conf (config/parse.h). A mistake says file, line and what was expected; all are reported.
 * K1  patterns of addresses: local@domain, *@domain, *@*.domain; "*" any, "<>" the null sender. "*" in a local part stands for
 *     any octets, in a domain only as "*" or in front of a dot. Case doesn't count
 * K2  `senders` are the envelope senders that are allowed; `from` those of the From field. Without `from`, `senders` counts for
 *     From too: what is signed and shown is not left to whoever writes the file. Neither: everything goes
 * K3  with owner or group sections a file's owner must have one: by uid first, then by group; its `senders` hold as well as
 *     the folder's
 * K4  no path is read from here, and no secret: DKIM keys and sources are named as they stand in mailroot.conf
 *     (dkim = "domain/selector", source = "name")
 * Immutable once parsed. */
#ifndef MR_CONFIG_FOLDER_CONF_H
#define MR_CONFIG_FOLDER_CONF_H

#include "config/config.h"
#include "config/window.h"
#include "message/address.h"

enum { FOLDER_CONF_SIZE_MAX = 64 * 1024, FOLDER_CONF_NAME_MAX = 64 };
enum folder_once { FOLDER_ONCE_OFF, FOLDER_ONCE_KEY, FOLDER_ONCE_MESSAGE_ID };

struct folder_quota { uint64_t count; int64_t per_ms; }; /* count 0: none */

struct folder_owner {           /* owner "NAME" { … }, group "NAME" { … } */
    char *name;
    bool is_group;
    unsigned number;            /* uid or gid */
    size_t line;
    struct config_list senders;
    size_t senders_line;
    char *default_sender;
    char *quota_text;
    struct folder_quota quota;
};

struct folder_conf {
    struct folder_conf *older;  /* the holder's list */
    char *name;                 /* of the folder: letters, digits, ".", "_", "-" */
    char *file;                 /* for texts */
    struct config_list senders, from, sources, dkim;
    char *default_sender, *route, *archive, *window_text, *quota_text;
    struct window window;
    struct folder_quota quota;
    struct config_rates rates;
    int64_t rate_interval_ms;   /* of them: the distance of two messages; 0: none */
    int64_t once_ms;            /* 0: as pickup.once_window */
    int priority;               /* -1: the message's; 0 low, 1 normal, 2 high */
    int receipts;               /* -1: as the config; 0, 1 */
    int dialect, dots, once;    /* -1: as the config */
    bool is_held;
    size_t senders_line, from_line, quota_line;
    struct folder_owner *owners;
    size_t owner_count;
};

/* NULL when there are mistakes: a line of `report` each. `file` is for texts. */
MUST_USE struct folder_conf *folder_conf_parse(const char *name, const char *file, struct slice text, struct buf *report);
void folder_conf_destroy(struct folder_conf **conf);
/* Whether a name can be a folder's: it goes into queue rows and file names. */
bool folder_conf_is_name(const char *name);
/* Whether a pattern of the list fits (K1). */
bool folder_conf_allows(const struct config_list *patterns, const struct address *address);

#endif
