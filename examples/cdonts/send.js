#!/usr/bin/gjs
// send.js TO FILE: sends a file.
imports.gi.versions.Cdonts = '1.0';
const { Cdonts } = imports.gi;

const mail = new Cdonts.NewMail({ from: 'app@example.test', to: ARGV[0], subject: 'Grüße aus JavaScript' });
mail.body = 'Es hängt an.\n';
mail.attach_file(ARGV[1], null, 1);
print(mail.send());
