/* send TO FILE: sends a file.      cc send.c $(pkg-config --cflags --libs cdonts) */
#include <cdonts.h>

#include <stdio.h>

int main(int argc, char **argv)
{
    struct cdonts_error error;
    struct cdonts_object *mail = argc == 3 ? cdonts_create("NewMail", &error) : NULL;
    if (!mail)
        return 64;
    cdonts_put_text(mail, "From", "app@example.test", &error);
    cdonts_put_text(mail, "To", argv[1], &error);
    cdonts_put_text(mail, "Subject", "Grüße aus C", &error);
    cdonts_put_text(mail, "Body", "Es hängt an.\n", &error);
    cdonts_attach_file(mail, argv[2], NULL, CDONTS_BASE64, &error);
    uint32_t code = cdonts_send(mail, &error); /* fails for what was refused above, too */
    char *name = code == CDONTS_OK ? cdonts_get_text(mail, "PickupName", &error) : NULL;
    if (name)
        puts(name);
    else
        fprintf(stderr, "%08X %s\n", error.code, error.text);
    cdonts_free(name);
    cdonts_release(mail);
    return code == CDONTS_OK ? 0 : 1;
}
