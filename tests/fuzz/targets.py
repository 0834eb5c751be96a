"""The fuzzers: name, what it feeds to what, and the files of src/ whose lines its kept corpus is to cover."""

TARGETS = {
    "address": ("addresses and lists of them", ["message/address.c"]),
    "client": ("an SMTP server's replies", ["smtp/client.c", "smtp/client_reply.c", "smtp/reply.c"]),
    "compose": ("values that a message is composed of", ["message/compose.c", "message/compose_body.c", "message/compose_header.c"]),
    "config": ("the config file", ["config/parse.c"]),
    "dkim": ("DKIM and ARC signatures, and their keys", ["message/dkim_read.c", "message/dkim_canon.c", "message/dkim_verify.c"]),
    "foreign": ("pickup files as other relays write them", ["pickup/foreign.c"]),
    "form": ("pages with forms, and posts to them", ["web/form_body.c", "web/gather.c", "web/html.c", "web/webbot.c"]),
    "message": ("pickup files: header, envelope, content", ["message/header.c", "message/envelope.c", "message/content.c", "message/recode.c"]),
    "metabase": ("MetaBase.xml", ["config/metabase.c"]),
    "milter": ("a filter's answers", ["inbound/milter.c"]),
    "postfix": ("Postfix's main.cf", ["config/postfix.c"]),
    "read": ("messages as they are read for people", ["message/read.c", "message/read_decode.c", "message/mime.c"]),
    "server": ("an SMTP client's commands and data", ["smtpd/server.c", "smtpd/server_content.c", "smtpd/server_mail.c", "smtp/path.c"]),
    "spf": ("SPF records", ["inbound/spf.c", "inbound/spf_macro.c", "inbound/spf_record.c"]),
    "sts": ("MTA-STS records and policies", ["route/sts_policy.c"]),
}
