#include "pickup/rules.h"

static bool is_in_group(const struct rules_owner *owner, unsigned group)
{
    for (size_t i = 0; i < owner->group_count; i++)
        if (owner->groups[i] == group)
            return true;
    return false;
}

const struct folder_owner *rules_section(const struct folder_conf *conf, const struct rules_owner *owner)
{
    for (size_t i = 0; i < conf->owner_count; i++)
        if (!conf->owners[i].is_group && conf->owners[i].number == owner->uid)
            return &conf->owners[i];
    for (size_t i = 0; i < conf->owner_count; i++)
        if (conf->owners[i].is_group && is_in_group(owner, conf->owners[i].number))
            return &conf->owners[i];
    return NULL;
}

struct list_rule { const struct config_list *list; size_t line; const char *key; };

static bool allow(const struct folder_conf *conf, const struct list_rule *rule, const struct address *address, const char *what,
                  struct error *error)
{
    if (rule->list->count == 0 || folder_conf_allows(rule->list, address))
        return true;
    return error_set(error, "%s:%zu: %s: %s <%.*s> is not on this list", conf->file, rule->line, rule->key, what,
                     SLICE_FMT(address->text));
}

/* Every address of every From field: receivers differ in which of them they show and judge. */
static bool allow_from(struct arena *arena, const struct folder_conf *conf, const struct list_rule *rule, const struct header *header,
                       struct error *error)
{
    if (rule->list->count == 0)
        return true;
    for (size_t i = 0; i < header->count; i++) {
        struct address_list list;
        if (!slice_equals_nocase(header->fields[i].name, SLICE("From")))
            continue;
        if (!address_list_parse(arena, header->fields[i].value, 1000, &list, error))
            return error_prefix(error, "%s:%zu: %s: From", conf->file, rule->line, rule->key);
        if (list.count == 0 || list.fault_count)
            return error_set(error, "%s:%zu: %s: From has no address that can be judged", conf->file, rule->line, rule->key);
        for (size_t k = 0; k < list.count; k++)
            if (!allow(conf, rule, &list.items[k], "From", error))
                return false;
    }
    return true;
}

bool rules_check(struct arena *arena, const struct folder_conf *conf, const struct rules_owner *owner, const struct header *header,
                 const struct envelope *envelope, struct error *error)
{
    const struct folder_owner *section = rules_section(conf, owner);
    if (conf->owner_count && !section)
        return error_set(error, "%s:%zu: owner: the file belongs to %.*s, who has no section here", conf->file, conf->owners[0].line,
                         SLICE_FMT(owner->name));
    const struct list_rule own = {section ? &section->senders : &(const struct config_list){0}, section ? section->senders_line : 0,
                                  section && section->is_group ? "group's senders" : "owner's senders"};
    const struct list_rule senders = {&conf->senders, conf->senders_line, "senders"};
    const struct list_rule from = {&conf->from, conf->from_line, "from"};
    bool has_from = conf->from.count > 0; /* K2 */
    return allow(conf, &own, &envelope->sender, "the sender", error) && allow(conf, &senders, &envelope->sender, "the sender", error)
           && (has_from ? allow_from(arena, conf, &from, header, error)
                        : allow_from(arena, conf, &own, header, error) && allow_from(arena, conf, &senders, header, error));
}
