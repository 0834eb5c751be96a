#include "config/forms.h"

#include "base/mem.h"
#include "config/value.h"
#include "message/address.h"

#include <stddef.h>
#include <stdlib.h>

#define AT(field) offsetof(struct config_form, field)
#define DAY_MS (24 * 3600 * 1000LL)

enum { NAME_SIZE_MAX = 40, RECIPIENTS_MAX = 100 };

static const struct config_key form_keys[] = {
    {"to", KEY_TEXT, AT(to), 0, 0, NULL, NULL},
    {"subject", KEY_TEXT, AT(subject), 0, 0, NULL, NULL},
    {"reply_to", KEY_TEXT, AT(reply_to), 0, 0, NULL, NULL},
    {"text", KEY_TEXT, AT(text), 0, 0, NULL, NULL},
    {"redirect", KEY_TEXT, AT(redirect), 0, 0, NULL, NULL},
    {"required", KEY_LIST, AT(required), 0, 0, NULL, NULL},
    {"honeypot", KEY_TEXT, AT(honeypot), 0, 0, NULL, NULL},
    {"token", KEY_BOOL, AT(needs_token), 0, 0, NULL, NULL},
    {"least_time", KEY_DURATION, AT(least_ms), 0, DAY_MS, NULL, NULL},
    {"work", KEY_INT, AT(work_bits), 0, 28, NULL, NULL},
    {"origins", KEY_LIST, AT(origins), 0, 0, NULL, NULL},
    {"files", KEY_INT, AT(files_max), 0, 20, NULL, NULL},
    {"file_types", KEY_LIST, AT(file_types), 0, 0, NULL, NULL},
    {"auto_answer", KEY_TEXT, AT(auto_answer), 0, 0, NULL, NULL},
    {"auto_subject", KEY_TEXT, AT(auto_subject), 0, 0, NULL, NULL},
};

static struct config_form *form_get(struct config *config, struct slice name)
{
    for (size_t i = 0; i < config->form_count; i++)
        if (slice_equals(slice_of(config->forms[i].name), name))
            return &config->forms[i];
    config->forms = mem_resize(config->forms, (config->form_count + 1) * sizeof *config->forms);
    struct config_form *form = &config->forms[config->form_count++];
    *form = (struct config_form){.name = slice_copy(name), .needs_token = true, .least_ms = 2000};
    return form;
}

bool forms_set(struct config *config, struct slice name, struct slice text, struct error *error)
{
    struct slice key = slice_cut_last(&name, '.');
    if (name.size == 0 || !value_is_name(name, NAME_SIZE_MAX))
        return error_set(error, "form \"name\" { key = value } was expected; a name is made of a-z, 0-9, - and _");
    for (size_t i = 0; i < COUNT_OF(form_keys); i++)
        if (slice_equals(key, slice_of(form_keys[i].name)))
            return value_set(&form_keys[i], (char *)form_get(config, name), text, error);
    return error_set(error, "unknown key of a form; there are to, subject, reply_to, text, redirect, required, honeypot, token, "
                     "least_time, work, origins, files, file_types, auto_answer, auto_subject");
}

static bool check_one(const struct config_form *form, struct error *error)
{
    struct arena arena = {0};
    struct address_list list;
    bool is_fine = form->to && address_list_parse(&arena, slice_of(form->to), RECIPIENTS_MAX, &list, error) && list.count > 0
                   && list.fault_count == 0;
    arena_finish(&arena);
    if (!is_fine)
        return error_set(error, "form \"%s\": to: addresses were expected", form->name);
    if (form->redirect && (form->redirect[0] != '/' || form->redirect[1] == '/' || strpbrk(form->redirect, "\\\r\n")))
        return error_set(error, "form \"%s\": redirect: a path of this site was expected, as /thanks.htm", form->name);
    if (form->work_bits && !form->needs_token)
        return error_set(error, "form \"%s\": work needs token = true: it is done on the token", form->name);
    if (form->auto_answer && !form->reply_to)
        return error_set(error, "form \"%s\": auto_answer needs reply_to, the field with the visitor's address", form->name);
    return true;
}

bool forms_check(const struct config *config, struct error *error)
{
    for (size_t i = 0; i < config->form_count; i++)
        if (!check_one(&config->forms[i], error))
            return false;
    return true;
}

void forms_clear(struct config *config)
{
    for (size_t i = 0; i < config->form_count; i++) {
        for (size_t k = 0; k < COUNT_OF(form_keys); k++)
            value_clear(&form_keys[k], (char *)&config->forms[i]);
        free(config->forms[i].name);
    }
    free(config->forms);
    config->forms = NULL;
    config->form_count = 0;
}
