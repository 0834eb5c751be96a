#include "lab/hosts_private.h"

#include "base/mem.h"
#include "os/clock.h"
#include "os/stream.h"
#include "smtp/path.h"

#include <stdlib.h>

/* ---- what the scenario says now ---- */

static bool has_tls(const struct lab_phase *phase, int what) { (void)what; return phase->tls != LAB_UNSAID; }

static enum lab_tls tls_at(const struct place *place, struct play *play)
{
    const struct lab_phase *phase = play_phase(play, &place->host->phases, has_tls, 0);
    return phase ? (enum lab_tls)phase->tls : LAB_TLS_GOOD;
}

static void see(struct play *play, json_t *what)
{
    play->seen(play->seen_arg, what);
}

/* ---- a visit's script ---- */

/* The sink's way to say it: a reply, or "" to end the session. */
static const char *play_words(struct visit *visit, const char *words)
{
    visit->is_silent = visit->is_silent || is_word(words, "silent");
    return is_word(words, "silent") || is_word(words, "close") ? "" : words;
}

static const char *at_mail(struct visit *visit, struct slice argument)
{
    struct slice path, rest;
    buf_clear(&visit->sender);
    if (smtp_path_read(argument, SLICE("FROM:"), &path, &rest))
        buf_append(&visit->sender, path);
    const char *words = place_words(visit->place, visit->hosts->play, LAB_MAIL);
    if (words)
        return words;
    if (!place_is_over_rate(visit->place))
        return NULL;
    return visit->place->host->rate_says ? visit->place->host->rate_says : "451 4.7.1 Too many messages from you, try again later";
}

static const char *at_rcpt(struct visit *visit, struct slice argument)
{
    const struct lab_host *host = visit->place->host;
    struct slice path, rest;
    if (!smtp_path_read(argument, SLICE("TO:"), &path, &rest))
        return NULL;
    for (size_t i = 0; i < host->mailbox_count; i++)
        if (slice_equals_nocase(path, slice_of(host->mailboxes[i].address)))
            return host->mailboxes[i].says;
    const char *words = place_words(visit->place, visit->hosts->play, LAB_RCPT);
    if (!words && place_greylists(visit->place, buf_slice(&visit->sender), path))
        return "451 4.7.1 Greylisted, please try again later";
    return words;
}

static const char *script(void *arg, enum sink_stage stage, struct slice argument)
{
    static const enum lab_stage stages[] = {
        [SINK_AT_EHLO] = LAB_EHLO, [SINK_AT_MAIL] = LAB_MAIL, [SINK_AT_RCPT] = LAB_RCPT, [SINK_AT_DATA] = LAB_DATA};
    struct visit *visit = arg;
    return play_words(visit, stage == SINK_AT_MAIL   ? at_mail(visit, argument)
                             : stage == SINK_AT_RCPT ? at_rcpt(visit, argument)
                                                     : place_words(visit->place, visit->hosts->play, stages[stage]));
}

static json_t *message_id(struct slice header)
{
    while (header.size) {
        struct slice line = slice_cut(&header, '\n');
        if (slice_starts_nocase(line, SLICE("Message-ID:"))) {
            line = slice_trim(slice_from(line, 11));
            return json_stringn(line.data, line.size);
        }
    }
    return json_null();
}

static void tell_arrived(const struct visit *visit, const char *answer)
{
    const struct sink_message *message = &visit->session.message;
    json_t *to = json_array();
    for (struct slice rest = buf_slice(&message->recipients); rest.size;) {
        struct slice path = slice_cut(&rest, '\0');
        (void)json_array_append_new(to, json_stringn(path.data, path.size));
    }
    see(visit->hosts->play, json_pack("{s:s, s:s, s:o, s:o, s:o, s:s}", "event", "arrived", "mx", visit->place->host->name, "from",
                                      json_stringn(message->sender.data ? message->sender.data : "", message->sender.size), "to", to,
                                      "message_id", message_id(buf_slice(&message->content)), "answer", answer));
}

/* A message is whole: taken, refused, or taken and nobody says so. False: no answer. */
static bool judge_message(struct visit *visit)
{
    const char *words = place_words(visit->place, visit->hosts->play, LAB_MESSAGE);
    bool is_refused = words && (*words == '4' || *words == '5');
    bool is_lost = is_word(words, "lost");
    const char *said = play_words(visit, is_lost ? "close" : words);
    if (said && !*said) {
        if (is_lost)
            tell_arrived(visit, "lost");
        return false;
    }
    if (!said)
        said = "250 2.0.0 Taken";
    if (!is_refused)
        tell_arrived(visit, said);
    sink_answer(&visit->session, said);
    if (strncmp(said, "421", 3) == 0)
        visit->session.want = SINK_CLOSE;
    return true;
}

/* ---- a visit ---- */

void visit_end(struct visit *visit)
{
    if (visit->previous)
        visit->previous->next = visit->next;
    else
        visit->hosts->visits = visit->next;
    if (visit->next)
        visit->next->previous = visit->previous;
    timer_free(&visit->timer);
    stream_destroy(&visit->stream);
    sink_finish(&visit->session);
    buf_finish(&visit->sender);
    free(visit);
}

static SSL_CTX *context_of(const struct visit *visit, enum lab_tls tls)
{
    SSL_CTX **context = &visit->place->contexts[tls];
    if (!*context)
        *context = certificates_context(visit->hosts->certificates, visit->place->host->name, tls);
    return *context;
}

static void serve_tls(struct visit *visit)
{
    struct error error;
    enum lab_tls tls = tls_at(visit->place, visit->hosts->play);
    SSL_CTX *context = tls == LAB_TLS_BROKEN || stream_pending(visit->stream) ? NULL : context_of(visit, tls == LAB_TLS_NONE ? LAB_TLS_GOOD : tls);
    if (!context || !stream_serve_tls(visit->stream, context, &error))
        visit_end(visit);
}

static void on_time(void *arg)
{
    struct visit *visit = arg;
    struct sink_session *session = &visit->session;
    stream_write(visit->stream, buf_slice(&session->output));
    stream_flush(visit->stream);
    buf_clear(&session->output);
    stream_resume(visit->stream);
    if (session->want == SINK_TLS) {
        serve_tls(visit);
    } else if (session->want == SINK_CLOSE && !visit->is_silent) {
        stream_end(visit->stream);
        visit_end(visit);
    }
}

/* Nothing more is read until the answer is out. */
static void answer(struct visit *visit)
{
    if (visit->session.output.size == 0 && visit->session.want == SINK_READ)
        return;
    stream_pause(visit->stream);
    timer_set(visit->timer, play_delay_ms(visit->hosts->play, &visit->place->host->phases, HOST_DELAY_MS));
}

static void on_read(void *arg, struct slice bytes)
{
    struct visit *visit = arg;
    enum sink_want want = visit->session.want;
    size_t used;
    while (bytes.size && want == SINK_READ && !visit->is_silent) {
        want = sink_feed(&visit->session, bytes, clock_mono_ms() * 1000, &used);
        bytes = slice_from(bytes, used);
        if (want == SINK_MESSAGE) {
            if (!judge_message(visit))
                visit->session.want = SINK_CLOSE;
            want = visit->session.want;
        }
    }
    answer(visit);
}

static void on_secured(void *arg)
{
    struct visit *visit = arg;
    sink_secured(&visit->session);
}

static void on_closed(void *arg, const char *reason)
{
    (void)reason;
    visit_end(arg);
}

static void on_drained(void *arg)
{
    (void)arg; /* what did not fit into the socket's buffer is gone: nothing waits for it */
}

static const struct stream_handler handler = {on_drained, on_read, on_drained, on_secured, on_closed};

static void greet(struct visit *visit, const char *words)
{
    const struct lab_host *host = visit->place->host;
    struct sink_session *session = &visit->session;
    buf_clear(&session->output);
    if (host->connections_max && place_open(visit->hosts, visit->place) > (size_t)host->connections_max)
        words = "421 4.7.0 Too many connections from you";
    if (!words || *words == '2')
        buf_printf(&session->output, "%s%s\r\n", words ? words : "220 ", words ? "" : host->name);
    else if (!is_word(words, "close"))
        sink_say(session, words);
    if (words && *words != '2')
        session->want = SINK_CLOSE;
}

/* The server's end of a connection. */
bool visit_begin(struct hosts *hosts, struct place *place, int fd, const char *words)
{
    struct visit *visit = mem_alloc(sizeof *visit);
    struct error error;
    *visit = (struct visit){.hosts = hosts, .place = place, .fd = fd, .next = hosts->visits};
    visit->options = (struct sink_options){.script = script, .host = place->host->name, .keep = SINK_KEEP_HEADER,
                                           .extensions = SMTP_PIPELINING | SMTP_SIZE | SMTP_8BITMIME | SMTP_SMTPUTF8 | SMTP_ENHANCEDSTATUSCODES};
    if (tls_at(place, hosts->play) != LAB_TLS_NONE)
        visit->options.extensions |= SMTP_STARTTLS;
    sink_init(&visit->session, &visit->options, 1);
    visit->session.script_arg = visit;
    visit->timer = timer_make(hosts->play->base, on_time, visit);
    visit->stream = stream_accepted(hosts->play->base, fd, &handler, visit, &error);
    if (visit->next)
        visit->next->previous = visit;
    hosts->visits = visit;
    if (!visit->stream) {
        visit_end(visit);
        return false;
    }
    see(hosts->play, json_pack("{s:s, s:s, s:I}", "event", "visited", "mx", place->host->name, "open", (json_int_t)place_open(hosts, place)));
    greet(visit, words);
    stream_pause(visit->stream);
    timer_set(visit->timer, HOST_DELAY_MS + play_delay_ms(hosts->play, &place->host->phases, HOST_DELAY_MS));
    return true;
}
