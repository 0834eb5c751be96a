<?php
// send.php TO FILE: sends a file, through PHP's FFI.
$cdonts = FFI::cdef('
    void *cdonts_create(const char *class_name, void *error);
    unsigned cdonts_put_text(void *object, const char *member, const char *text, void *error);
    unsigned cdonts_attach_file(void *mail, const char *path, const char *name, int encoding, void *error);
    unsigned cdonts_send(void *mail, void *error);
    char *cdonts_get_text(void *object, const char *member, void *error);
', 'libcdonts.so.1');
$mail = $cdonts->cdonts_create('NewMail', null);
$values = ['From' => 'app@example.test', 'To' => $argv[1], 'Subject' => 'Grüße aus PHP', 'Body' => "Es hängt an.\n"];
foreach ($values as $member => $text) {
    $cdonts->cdonts_put_text($mail, $member, $text, null);
}
$cdonts->cdonts_attach_file($mail, $argv[2], null, 1, null);
if ($code = $cdonts->cdonts_send($mail, null)) {
    exit(sprintf("%08X\n", $code));
}
echo FFI::string($cdonts->cdonts_get_text($mail, 'PickupName', null)), "\n";
