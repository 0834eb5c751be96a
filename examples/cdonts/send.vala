// send.vala: valac --pkg Cdonts-1.0 send.vala; ./send TO FILE sends a file.
int main (string[] args) {
    try {
        var mail = new Cdonts.NewMail ();
        mail.From = "app@example.test";
        mail.To = args[1];
        mail.Subject = "Grüße aus Vala";
        mail.Body = "Es hängt an.\n";
        mail.attach_file (args[2], null, 1);
        print ("%s\n", mail.send ());
    } catch (Error error) {
        stderr.printf ("%s\n", error.message);
        return 1;
    }
    return 0;
}
