#include "web/form_mail.h"

#include "message/address.h"
#include "pickup/pickup_writer.h"

enum { RECIPIENTS_MAX = 100, SUBJECT_SIZE_MAX = 500 };

/* The addresses of a list, qualified; what can't be read is left out. */
static void read_addresses(struct arena *arena, const struct config *config, struct slice text, struct address_list *ret_list)
{
    struct error error;
    if (!address_list_parse(arena, letter_one_line(arena, text), RECIPIENTS_MAX, ret_list, &error))
        *ret_list = (struct address_list){0};
    for (size_t i = 0; i < ret_list->count; i++)
        address_qualify(arena, slice_of(config->default_domain), &ret_list->items[i]);
}

bool form_mail_submit(struct arena *arena, const struct config *config, struct slice to, struct letter *letter,
                      struct error *error)
{
    struct buf message = {0};
    char name[PICKUP_WRITER_NAME_SIZE];
    struct slice sender = config->web.from ? slice_of(config->web.from)
                                           : arena_printf(arena, "forms@%s", config->default_domain);
    read_addresses(arena, config, to, &letter->to);
    read_addresses(arena, config, sender, &letter->from);
    if (letter->to.count == 0)
        return error_set(error, "no address to send to");
    if (letter->from.count == 0)
        return error_set(error, "web.from is no address");
    struct submission_recipient *to_whom = arena_alloc(arena, letter->to.count * sizeof *to_whom);
    for (size_t i = 0; i < letter->to.count; i++) {
        letter->to.items[i].display = SLICE_NONE;
        to_whom[i].address = letter->to.items[i].text;
    }
    struct submission submission = {.sender = letter->is_auto_reply ? SLICE("") : letter->from.items[0].text, .recipients = to_whom,
                                    .recipient_count = letter->to.count};
    bool is_done = letter_compose(arena, letter, &message, error);
    submission.message = buf_slice(&message);
    is_done = is_done && pickup_write(config->pickup.dir, &submission, name, error);
    buf_finish(&message);
    return is_done;
}

void form_mail_one_address(struct arena *arena, struct slice text, struct address_list *ret_list)
{
    struct error error;
    struct address *address = arena_alloc(arena, sizeof *address);
    bool is_one = slice_trim(text).size && address_parse(arena, slice_trim(text), address, &error);
    *ret_list = (struct address_list){.items = address, .count = is_one};
}

static struct slice named_or_literal(const struct gathered *g, struct slice setting, struct slice is_field)
{
    struct slice text = page_setting(g->arena, g->page, g->form, setting, 0);
    if (text.size && page_setting_is(g->arena, g->page, g->form, is_field, false))
        text = gathered_value(g, slice_trim(text));
    return slice_is_absent(text) ? SLICE("") : letter_one_line(g->arena, text);
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

static void read_reply_to(const struct gathered *g, const struct config *config, struct address_list *ret_list)
{
    struct slice text = page_setting(g->arena, g->page, g->form, SLICE("S-Email-ReplyTo"), 0);
    if (text.size && page_setting_is(g->arena, g->page, g->form, SLICE("B-Email-ReplyTo-From-Field"), false))
        text = gathered_value(g, slice_trim(text));
    form_mail_one_address(g->arena, text, ret_list);
    if (ret_list->count)
        address_qualify(g->arena, slice_of(config->default_domain), &ret_list->items[0]);
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
    struct letter letter = {.subject = subject_of(g)};
    size_t file_count;
    const struct form_field *files = gathered_files(g, &file_count);
    letter.files = arena_alloc(g->arena, (file_count + 1) * sizeof *letter.files);
    for (size_t i = 0; i < file_count; i++)
        letter.files[letter.file_count++] = letter_file(g->arena, files[i].file_name, files[i].type, files[i].value);
    read_reply_to(g, config, &letter.reply_to);
    *(results_is_html(format) ? &letter.html : &letter.text) = lay_out(g, results, format);
    return form_mail_submit(g->arena, config, to, &letter, error);
}
