/* w3c: the fields that a W3C extended log may have, as the SMTP service of IIS named them. */
#ifndef MR_CONFIG_W3C_H
#define MR_CONFIG_W3C_H

#include "base/slice.h"

#define W3C_FIELDS(X)                                                                                              \
    X(DATE, "date") X(TIME, "time") X(CLIENT_IP, "c-ip") X(USER, "cs-username") X(SITE, "s-sitename")              \
    X(COMPUTER, "s-computername") X(SERVER_IP, "s-ip") X(SERVER_PORT, "s-port") X(METHOD, "cs-method")             \
    X(STEM, "cs-uri-stem") X(QUERY, "cs-uri-query") X(STATUS, "sc-status") X(WIN32, "sc-win32-status")             \
    X(SENT, "sc-bytes") X(RECEIVED, "cs-bytes") X(TAKEN, "time-taken") X(VERSION, "cs-version") X(HOST, "cs-host") \
    X(AGENT, "cs(User-Agent)") X(COOKIE, "cs(Cookie)") X(REFERER, "cs(Referer)")

enum w3c_field {
#define FIELD(field, name) W3C_##field,
    W3C_FIELDS(FIELD)
#undef FIELD
    W3C_FIELD_COUNT
};

enum w3c_period { W3C_DAILY, W3C_HOURLY, W3C_WEEKLY, W3C_MONTHLY, W3C_BY_SIZE };

/* IIS's three files: W3C extended, NCSA common, and its own. The last two have fields of their own. */
enum w3c_format { W3C_EXTENDED, W3C_NCSA, W3C_IIS };

const char *w3c_field_name(enum w3c_field field);
/* W3C_FIELD_COUNT: there is none of that name. */
enum w3c_field w3c_field_find(struct slice name);

#endif
