/* The same message with GMime.   compose_gmime ROUNDS TEXT FILE */
#include <gmime/gmime.h>

#include "compose.h"

int main(int argc, char **argv)
{
    size_t size = 0, file_size;
    char *text = argc == 4 ? load(argv[2], NULL) : NULL, *file = text ? load(argv[3], &file_size) : NULL;
    long rounds = argc == 4 ? atol(argv[1]) : 0;
    if (!file)
        return 64;
    g_mime_init();
    GMimeFormatOptions *crlf = g_mime_format_options_new();
    g_mime_format_options_set_newline_format(crlf, GMIME_NEWLINE_FORMAT_DOS);
    double start = now();
    for (long i = 0; i < rounds; i++) {
        GMimeMessage *message = g_mime_message_new(TRUE);
        g_mime_message_add_mailbox(message, GMIME_ADDRESS_TYPE_FROM, "Zoë König", "zoe@example.test");
        g_mime_message_add_mailbox(message, GMIME_ADDRESS_TYPE_TO, "Ann", "ann@example.test");
        g_mime_message_set_subject(message, "Grüße, heute mit einer Betreffzeile, die länger als eine Zeile ist", "utf-8");
        GMimeTextPart *words = g_mime_text_part_new_with_subtype("plain");
        g_mime_text_part_set_charset(words, "utf-8");
        g_mime_text_part_set_text(words, text);
        g_mime_part_set_content_encoding((GMimePart *)words, GMIME_CONTENT_ENCODING_QUOTEDPRINTABLE);
        GMimePart *attached = g_mime_part_new_with_type("application", "octet-stream");
        g_mime_part_set_filename(attached, "Prüfung.bin");
        g_mime_object_set_disposition((GMimeObject *)attached, "attachment");
        g_mime_part_set_content_encoding(attached, GMIME_CONTENT_ENCODING_BASE64);
        GMimeStream *bytes = g_mime_stream_mem_new_with_buffer(file, file_size);
        GMimeDataWrapper *wrapper = g_mime_data_wrapper_new_with_stream(bytes, GMIME_CONTENT_ENCODING_DEFAULT);
        g_mime_part_set_content(attached, wrapper);
        GMimeMultipart *mixed = g_mime_multipart_new_with_subtype("mixed");
        g_mime_multipart_add(mixed, (GMimeObject *)words);
        g_mime_multipart_add(mixed, (GMimeObject *)attached);
        g_mime_message_set_mime_part(message, (GMimeObject *)mixed);
        GMimeStream *out = g_mime_stream_mem_new();
        g_mime_object_write_to_stream((GMimeObject *)message, crlf, out);
        size = (size_t)g_mime_stream_length(out);
        GObject *made[] = {(GObject *)out, (GObject *)mixed, (GObject *)wrapper, (GObject *)bytes, (GObject *)attached,
                           (GObject *)words, (GObject *)message};
        for (size_t k = 0; k < sizeof made / sizeof *made; k++)
            g_object_unref(made[k]);
    }
    tell(rounds, start, size);
    return 0;
}
