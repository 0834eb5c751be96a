"""What tests/faults/protections takes out: protects, removed (in words), file below src/, old text and new, and the test that has to fail."""


def row(protects, removed, file, old, new, test):
    return {"protects": protects, "removed": removed, "file": file, "old": old, "new": new, "test": test}


PROTECTIONS = [
    # What clients send.
    row("smuggling by a bare LF", "the refusal of a bare LF in DATA", "smtpd/server_content.c",
        "        if (!server->client.may_bare_lf)\n            return bare_lf;\n", "", "unit smtpd-server"),
    row("smuggling by a bare CR", "the refusal of a CR without LF in DATA", "smtpd/server_content.c",
        "    if (c != '\\n' && is_behind_cr(server))\n        return bare_cr;\n", "", "unit smtpd-server"),
    row("NUL in content", "the refusal", "smtpd/server_content.c", "    if (c == '\\0')\n        return nul;\n", "", "unit smtpd-server"),
    row("commands injected before TLS", "what was said before STARTTLS is kept", "smtpd/server_client.c",
        "    CHECK(is_implicit || server->want == SERVER_TLS);\n    forget_session(server);\n", "    CHECK(is_implicit || server->want == SERVER_TLS);\n",
        "unit smtpd-server"),
    row("passwords in the clear", "AUTH is offered without TLS", "smtpd/server_client.c",
        "return options->mechanisms && (server->is_secured || (options->is_auth_in_clear && server->client.is_loopback));",
        "return options->mechanisms;", "unit smtpd-server"),
    row("talk without end", "errors are not counted", "smtpd/server.c", "    server->error_count++;\n    if (server->error_count >= server->options->errors) {",
        "    if (server->error_count >= server->options->errors) {", "unit smtpd-server"),
    row("mail loops", "Received fields are not counted by the listener", "smtpd/server_content.c",
        "    content->hops += slice_starts_nocase(name, SLICE(\"Received:\"));\n", "", "unit smtpd-server"),
    row("headers without end", "the limit of the header", "smtpd/server_content.c",
        "    if (content->header_size > options->header_size || content->header_count > options->header_count)\n"
        "        refuse_content(server, \"552 5.3.4 header too large\");\n", "", "unit smtpd-server"),
    row("chunks larger than a message may be", "BDAT's octets are not compared with the limit", "smtpd/server_content.c",
        "    if (octets > server->options->message_size) {\n        server_break(server, \"552 5.3.4 too large\");\n        return;\n    }\n", "",
        "unit smtpd-server"),
    row("messages larger than the limit", "SIZE= is not compared with it", "smtpd/server_mail.c",
        "return octets > server->options->message_size ? \"552 5.3.4 too large\" : NULL;", "return NULL;", "unit smtpd-server"),
    row("an open relay", "strangers' recipients are not looked at", "smtpd/server_mail.c",
        "    if (server->client.may_relay || server->is_authenticated)\n        return", "    if (true)\n        return", "unit smtpd-server"),
    # Pickup and other local users.
    row("hard links to other users' files", "the count of links is not looked at", "pickup/folder.c", "    if (is->stx_nlink > 1) {", "    if (false) {",
        "unit pickup-folder"),
    row("FIFOs, sockets, links in Pickup", "the kind of file is not looked at", "pickup/folder.c", "    if (!S_ISREG(is->stx_mode)) {", "    if (false) {",
        "unit pickup-folder"),
    row("header injection by values", "control octets are not refused when composing", "message/compose_header.c",
        "if (size == 0 || (c < 0x20 && c != '\\t') || c == 0x7f || is_c1)", "if (size == 0)", "unit message-compose"),
    # What the network answers.
    row("mail to private addresses", "IPv4 ranges are not looked at", "route/address.c", "        if (is_in(address, &v4_ranges[i]))\n            return false;\n",
        "        if (is_in(address, &v4_ranges[i]))\n            return true;\n", "unit route-address"),
    row("private addresses hidden in IPv6", "mapped and translated addresses are not looked into", "route/address.c",
        "            return is_public_v4(octets + carriers[i].at);", "            return true;", "unit route-address"),
    row("TLSA whose digest has another size", "its size is not looked at", "route/tls_policy.c", "        return ret_tlsa->size == 32;",
        "        return true;", "unit route-tls-policy"),
    row("MTA-STS wildcards over two labels", "any name under the pattern is taken", "route/sts_policy.c",
        "        if (dot > 0 && slice_equals_nocase(slice_from(pattern, 1), slice_from(host, (size_t)dot)))",
        "        if (dot > 0 && slice_ends_nocase(host, slice_from(pattern, 1)))", "unit route-sts-policy"),
    row("a SCRAM server that wants endless rounds", "the limit of rounds", "relay/sasl.c", "&& rounds > SCRAM_ROUNDS_MAX)", "&& false)", "unit relay-sasl"),
    row("a name server that comes up late and has no DNSSEC", "it is not probed again", "route/unbound.c",
        "    if (!unbound->is_probing && dns_is_probe_due(unbound->config)) {\n        probe(unbound);\n        return;\n    }\n", "",
        "test_tls_policy.py -k found_though_no_mail"),
    row("bogus answers before the probe has its answer", "they are believed at once", "route/unbound.c",
        "if (!problem && result && result->bogus && question->fn && unbound->is_validating && dns_is_probe_due(unbound->config)) {", "if (false) {",
        "test_tls_policy.py -k probed_then"),
    # Confinement.
    row("files outside, by landlock", "the rules are not put in force", "sandbox/landlock.c", "syscall(SYS_landlock_restrict_self, rules.fd, 0) == 0", "true",
        "unit sandbox-sandbox"),
    row("forbidden calls, by seccomp", "the filter is not loaded", "sandbox/sandbox.c", "is_done ? seccomp_load(filter) : 0", "0", "unit sandbox-sandbox"),
    row("mailboxes outside their folder", "a slash in the local part is taken", "relay/mailbox.c",
        "|| name.data[i] == 0x7f || name.data[i] == '/')", "|| name.data[i] == 0x7f)", "unit relay-mailbox"),
    # Web.
    row("DNS rebinding", "any Host is served", "web/server.c", "    return is_known_host(request) ? 0 : 421;", "    return 0;",
        "test_web_api.py -k A2_other_names"),
    row("requests of other pages (CSRF)", "Origin and X-Mailroot are not looked at", "web/access.c",
        "    return slice_equals(request_header(request, \"X-Mailroot\"), SLICE(\"1\")) && request_is_own_origin(request);", "    return true;",
        "test_web_api.py -k A1_another_page"),
    row("guessing the token", "wrong ones are not counted at the login", "web/access.c",
        "    *ret_is_too_often = !rate_take(access->wrong, request->address, clock_mono_ms());", "    *ret_is_too_often = false;",
        "test_web_api.py -k A4_wrong_tokens"),
    row("request smuggling over HTTP", "several lengths and encodings are taken", "web/server.c",
        "counts.lengths > 1 || counts.hosts != 1 || counts.encodings > 1 || (counts.lengths && counts.encodings)", "false",
        "test_web_forms.py -k bend_the_rules"),
    row("robots in forms", "the honeypot is not looked at", "web/endpoint.c", "    if (form->honeypot && value_of(posting, slice_of(form->honeypot)).size)",
        "    if (false)", "test_web_endpoints.py -k robots"),
    # The queue and its words.
    row("lines forged in the event log", "control octets are written as they are", "base/json.c",
        "    return c >= 0x20 && c < 0x7f && c != '\"' && c != '\\\\';", "    return c < 0x7f && c != '\"' && c != '\\\\';", "unit base-base"),
    row("two relays on one queue", "the lock is not asked for", "os/file.c", "    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {", "    while (false) {",
        "test_commands.py -k second_relay"),
]
