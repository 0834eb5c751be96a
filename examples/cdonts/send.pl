#!/usr/bin/perl
# send.pl TO FILE: sends a file.
use strict;
use warnings;
use utf8;
use Glib::Object::Introspection;
Glib::Object::Introspection->setup(basename => 'Cdonts', version => '1.0', package => 'Cdonts');

my $mail = Cdonts::NewMail->new;
$mail->set(From => 'app@example.test', To => $ARGV[0], Subject => 'Grüße aus Perl', Body => "Es hängt an.\n");
$mail->attach_file($ARGV[1], undef, 1);
print $mail->send, "\n";
