/* Composes one message with libcdonts, ROUNDS times; its rate a second, and the octets of the last.   compose_cdonts ROUNDS TEXT FILE */
#include <cdonts.h>

#include "compose.h"

int main(int argc, char **argv)
{
    size_t size = 0, file_size;
    char *text = argc == 4 ? load(argv[2], NULL) : NULL, *file = text ? load(argv[3], &file_size) : NULL;
    long rounds = argc == 4 ? atol(argv[1]) : 0;
    if (!file)
        return 64;
    double start = now();
    for (long i = 0; i < rounds; i++) {
        struct cdonts_error error;
        struct cdonts_object *mail = cdonts_create("NewMail", &error);
        cdonts_put_text(mail, "From", "Zoë König <zoe@example.test>", &error);
        cdonts_put_text(mail, "To", "Ann <ann@example.test>", &error);
        cdonts_put_text(mail, "Subject", "Grüße, heute mit einer Betreffzeile, die länger als eine Zeile ist", &error);
        cdonts_put_text(mail, "TextBody", text, &error);
        cdonts_attach_bytes(mail, file, file_size, "Prüfung.bin", NULL, &error);
        char *message = cdonts_compose(mail, &size, &error);
        if (!message)
            return 1;
        cdonts_free(message);
        cdonts_release(mail);
    }
    tell(rounds, start, size);
    return 0;
}
