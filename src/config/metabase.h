/* metabase: the SMTP service's part of an IIS 6 metabase export (MetaBase.xml; IIS 7 to 10 keep SMTP there too), read.
 *
 *   <IIsSmtpServer Location ="/LM/SmtpSvc/1" SmartHost="relay.example.com" …>
 *       <Custom Name="SmtpDotStuffPickupDirFiles" ID="37030" Value="TRUE" …/>
 *
 * B1  nodes below /LM/SmtpSvc are kept, with their attributes and <Custom> values; all others are read over
 * B2  a document type is refused: no entity is ever expanded, no file or address is ever opened for one
 * B3  lists come with their items parted by white space, as an XML parser gives them
 * B4  an IP list (RelayIpList, IPSecurity) is hex: four offsets, a section each; masks and addresses of four octets follow. Items that
 *     are masks (255…) begin a group. What doesn't fit is an error, never a guess
 * Pure: bytes in, slices of the arena out. By libexpat. */
#ifndef MR_CONFIG_METABASE_H
#define MR_CONFIG_METABASE_H

#include "base/arena.h"
#include "base/error.h"

enum { METABASE_SIZE_MAX = 64 << 20 };

struct metabase_property {
    struct slice name;   /* "MaxMessageSize"; empty if only the id is known */
    unsigned id;         /* 0: not given */
    struct slice value;
};

struct metabase_node {
    struct slice class, location; /* "IIsSmtpServer", "/LM/SmtpSvc/1" */
    struct metabase_property *properties;
    size_t count, capacity;
};

struct metabase { struct metabase_node *nodes; size_t count, capacity; };

MUST_USE bool metabase_parse(struct arena *arena, struct slice xml, struct metabase *ret_metabase, struct error *error);
/* By name (without case) or, if id isn't 0, by that; NULL if the node hasn't it. */
const struct metabase_property *metabase_find(const struct metabase_node *node, const char *name, unsigned id);

struct metabase_ip_list {
    struct slice *items;  /* "192.0.2.0/24" */
    size_t count;
    bool is_denied;       /* the list says who may not */
};
MUST_USE bool metabase_ip_list(struct arena *arena, struct slice hex, struct metabase_ip_list *ret_list, struct error *error);

#endif
