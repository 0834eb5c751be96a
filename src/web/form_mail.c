#include "web/form_mail.h"

#include "message/address.h"
#include "pickup/pickup_writer.h"

enum { RECIPIENTS_MAX = 100, SUBJECT_SIZE_MAX = 500 };

struct slice form_mail_one_line(struct arena *arena, struct slice text)
{
    char *out = arena_text(arena, text);
    for (size_t i = 0; i < text.size; i++)
        if ((unsigned char)out[i] < 0x20 || out[i] == 0x7f)
            out[i] = ' ';
    return slice_trim(slice_make(out, text.size));
}

/* "a@b" of a list of addresses, qualified; what can't be read is left out. */
static size_t read_addresses(struct arena *arena, const struct config *config, struct slice text, struct slice **ret_list)
{
    struct address_list list;
    struct error error;
    *ret_list = arena_alloc(arena, RECIPIENTS_MAX * sizeof **ret_list);
    if (!address_list_parse(arena, form_mail_one_line(arena, text), RECIPIENTS_MAX, &list, &error))
        return 0;
    for (size_t i = 0; i < list.count; i++) {
        address_qualify(arena, slice_of(config->default_domain), &list.items[i]);
        (*ret_list)[i] = list.items[i].text;
    }
    return list.count;
}

static struct slice join(struct arena *arena, const struct slice *list, size_t count)
{
    struct slice joined = SLICE("");
    for (size_t i = 0; i < count; i++)
        joined = arena_printf(arena, "%.*s%s%.*s", SLICE_FMT(joined), i ? ", " : "", SLICE_FMT(list[i]));
    return joined;
}

bool form_mail_submit(struct arena *arena, const struct config *config, struct slice to, struct letter *letter,
                      struct error *error)
{
    struct slice *recipients, *from;
    struct buf message = {0};
    char name[PICKUP_WRITER_NAME_SIZE];
    size_t count = read_addresses(arena, config, to, &recipients);
    if (count == 0)
        return error_set(error, "no address to send to");
    struct slice sender = config->web.from ? slice_of(config->web.from)
                                           : arena_printf(arena, "forms@%s", config->default_domain);
    if (read_addresses(arena, config, sender, &from) == 0)
        return error_set(error, "web.from is no address");
    letter->from = sender;
    if (slice_is_absent(letter->to))
        letter->to = join(arena, recipients, count);
    struct submission_recipient *to_whom = arena_alloc(arena, count * sizeof *to_whom);
    for (size_t i = 0; i < count; i++)
        to_whom[i].address = recipients[i];
    struct submission submission = {.sender = letter->is_auto_reply ? SLICE("") : from[0], .recipients = to_whom,
                                    .recipient_count = count};
    bool is_done = letter_compose(letter, &message, error);
    submission.message = buf_slice(&message);
    is_done = is_done && pickup_write(config->pickup.dir, &submission, name, error);
    buf_finish(&message);
    return is_done;
}

static struct slice named_or_literal(const struct gathered *g, struct slice setting, struct slice is_field)
{
    struct slice text = page_setting(g->arena, g->page, g->form, setting, 0);
    if (text.size && page_setting_is(g->arena, g->page, g->form, is_field, false))
        text = gathered_value(g, slice_trim(text));
    return slice_is_absent(text) ? SLICE("") : form_mail_one_line(g->arena, text);
}

static struct slice subject_of(const struct gathered *g)
{
    struct slice subject = named_or_literal(g, SLICE("S-Email-Subject"), SLICE("B-Email-Subject-From-Field"));
    if (subject.size > SUBJECT_SIZE_MAX)
        subject = slice_first(subject, SUBJECT_SIZE_MAX);
    while (subject.size && ((unsigned char)subject.data[subject.size - 1] & 0xC0) == 0x80 && subject.size == SUBJECT_SIZE_MAX)
        subject.size--;
    return subject.size ? subject : SLICE("Form Results");
}

static struct slice reply_to_of(const struct gathered *g, const struct config *config)
{
    struct address address;
    struct error error;
    struct slice text = page_setting(g->arena, g->page, g->form, SLICE("S-Email-ReplyTo"), 0);
    if (text.size && page_setting_is(g->arena, g->page, g->form, SLICE("B-Email-ReplyTo-From-Field"), false))
        text = gathered_value(g, slice_trim(text));
    if (slice_trim(text).size == 0 || !address_parse(g->arena, slice_trim(text), &address, &error))
        return SLICE_NONE;
    address_qualify(g->arena, slice_of(config->default_domain), &address);
    return address.text;
}

static struct slice lay_out(const struct gathered *g, const struct results *results, enum results_format format)
{
    struct buf text = {0};
    bool has_labels = page_setting_is(g->arena, g->page, g->form, SLICE("B-Email-Label-Fields"),
                                      page_setting_is(g->arena, g->page, g->form, SLICE("B-Label-Fields"), true));
    if (results_is_html(format))
        buf_append_text(&text, "<html>\r\n<head>\r\n<meta http-equiv=\"Content-Type\" content=\"text/html; charset=utf-8\">\r\n"
                               "</head>\r\n<body>\r\n");
    if (has_labels && (format == RESULTS_CSV || format == RESULTS_TSV))
        results_put_labels(results, format, &text);
    results_put(results, format, has_labels, &text);
    if (results_is_html(format))
        buf_append_text(&text, "</body>\r\n</html>\r\n");
    struct slice whole = arena_copy(g->arena, buf_slice(&text));
    buf_finish(&text);
    return whole;
}

bool form_mail_send(const struct gathered *g, const struct config *config, const struct results *results,
                    struct error *error)
{
    struct slice to = page_setting(g->arena, g->page, g->form, SLICE("S-Email-Address"), 0);
    if (slice_trim(to).size == 0)
        return true;
    enum results_format format = results_format_of(page_setting(g->arena, g->page, g->form, SLICE("S-Email-Format"), 0));
    struct letter letter = {.reply_to = reply_to_of(g, config), .subject = subject_of(g)};
    size_t file_count;
    const struct form_field *files = gathered_files(g, &file_count);
    struct letter_file *attached = arena_alloc(g->arena, (file_count + 1) * sizeof *attached);
    for (size_t i = 0; i < file_count; i++)
        attached[i] = (struct letter_file){files[i].file_name, files[i].type, files[i].value};
    letter.files = attached;
    letter.file_count = file_count;
    *(results_is_html(format) ? &letter.html : &letter.text) = lay_out(g, results, format);
    return form_mail_submit(g->arena, config, to, &letter, error);
}
