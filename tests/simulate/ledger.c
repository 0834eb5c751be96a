#include "ledger.h"

#include "base/hash.h"
#include "base/mem.h"
#include "outcome/history.h"

#include <stdio.h>
#include <stdlib.h>

enum { FINDINGS_MAX = 20, TOLERANCE_MS = 1500, SLACK_MS = 2 * 3600 * 1000 };
enum end { END_NONE, END_DELIVERED, END_FAILED };

struct state {                 /* of a recipient, as the relay tells it */
    enum end end;
    int attempts;
    int64_t next_ms;           /* since the start; not tried before */
};

struct entry {                 /* one recipient of one message */
    char *key;                 /* "<message-id> address" */
    struct letter *letter;
    struct state state;
    int64_t queued_ms;
    unsigned arrived, excused, lost; /* answered for; of those, what nobody can be blamed for */
    char mx[64];               /* the last server that answered for it */
    struct entry *next;        /* of the letter */
    UT_hash_handle hh;
};

struct letter {
    char *id;                  /* message-id */
    char *sender;              /* "" for notices */
    struct entry *entries;
    unsigned failed, told, badmail;
    UT_hash_handle hh;
};

struct queue_id { char *id; struct letter *letter; UT_hash_handle hh; };
struct undo { struct entry *entry; struct state state; unsigned failed, told, badmail; bool is_new; };

struct ledger {
    const struct world *world;
    const struct config *config;
    struct letter *letters;
    struct entry *entries;
    struct queue_id *ids;
    struct undo *undo;         /* what was told while the disk was full: a kill undoes it */
    size_t undo_count, undo_capacity;
    bool is_full, is_clock_set;
    struct ledger_counts counts;
    struct buf findings;
    size_t finding_count;
};

static void find(struct ledger *ledger, int64_t at_ms, const char *rule, const char *who, const char *what)
{
    if (ledger->finding_count++ < FINDINGS_MAX)
        buf_printf(&ledger->findings, "%s at %lld.%03lld s: %s: %s\n", rule, (long long)(at_ms / 1000), (long long)(at_ms % 1000), who, what);
}

struct ledger *ledger_create(const struct world *world)
{
    struct ledger *ledger = mem_alloc(sizeof *ledger);
    ledger->world = world;
    return ledger;
}

void ledger_config(struct ledger *ledger, const struct config *config)
{
    ledger->config = config;
}

/* ---- letters and recipients ---- */

static struct letter *letter_of_id(struct ledger *ledger, const char *id)
{
    struct queue_id *found;
    HASH_FIND_STR(ledger->ids, id, found);
    return found ? found->letter : NULL;
}

static struct letter *letter_add(struct ledger *ledger, const char *message_id, const char *queue_id, const char *sender)
{
    struct letter *letter = mem_alloc(sizeof *letter);
    struct queue_id *id = mem_alloc(sizeof *id);
    letter->id = mem_copy_text(message_id);
    letter->sender = mem_copy_text(sender);
    HASH_ADD_KEYPTR(hh, ledger->letters, letter->id, strlen(letter->id), letter);
    *id = (struct queue_id){.id = mem_copy_text(queue_id), .letter = letter};
    HASH_ADD_KEYPTR(hh, ledger->ids, id->id, strlen(id->id), id);
    ledger->counts.messages++;
    return letter;
}

static struct entry *entry_find(struct ledger *ledger, const char *message_id, const char *address)
{
    struct buf key = {0};
    struct entry *entry;
    buf_printf(&key, "%s %s", message_id, address);
    const char *text = buf_text(&key);
    HASH_FIND_STR(ledger->entries, text, entry);
    buf_finish(&key);
    return entry;
}

static struct entry *entry_add(struct ledger *ledger, struct letter *letter, const char *address, int64_t at_ms)
{
    struct entry *entry = mem_alloc(sizeof *entry);
    struct buf key = {0};
    buf_printf(&key, "%s %s", letter->id, address);
    entry->key = buf_take(&key);
    entry->letter = letter;
    entry->queued_ms = at_ms;
    entry->next = letter->entries;
    letter->entries = entry;
    HASH_ADD_KEYPTR(hh, ledger->entries, entry->key, strlen(entry->key), entry);
    ledger->counts.recipients++;
    return entry;
}

/* Before what is told of it changes: while the disk is full it may have to be taken back. */
static void remember(struct ledger *ledger, struct entry *entry, bool is_new)
{
    if (!ledger->is_full)
        return;
    if (ledger->undo_count == ledger->undo_capacity) {
        ledger->undo_capacity = ledger->undo_capacity ? 2 * ledger->undo_capacity : 64;
        ledger->undo = mem_resize(ledger->undo, ledger->undo_capacity * sizeof *ledger->undo);
    }
    const struct letter *letter = entry->letter;
    ledger->undo[ledger->undo_count++] = (struct undo){entry, entry->state, letter->failed, letter->told, letter->badmail, is_new};
}

static void take_back(struct ledger *ledger)
{
    while (ledger->undo_count) {
        struct undo *undo = &ledger->undo[--ledger->undo_count];
        undo->entry->state = undo->state;
        undo->entry->letter->failed = undo->failed;
        undo->entry->letter->told = undo->told;
        undo->entry->letter->badmail = undo->badmail;
        if (undo->is_new) /* a notice that never came to be */
            undo->entry->state.end = END_DELIVERED;
    }
}

/* ---- events ---- */

static void on_taken(struct ledger *ledger, const json_t *event, int64_t at_ms)
{
    struct letter *letter;
    const char *id = history_text(event, "message_id");
    HASH_FIND_STR(ledger->letters, id, letter);
    if (letter)
        find(ledger, at_ms, "I1", id, "taken twice");
    else
        (void)letter_add(ledger, id, history_text(event, "id"), history_text(event, "from"));
}

static void on_queued(struct ledger *ledger, const json_t *event, int64_t at_ms)
{
    struct letter *letter = letter_of_id(ledger, history_text(event, "id"));
    if (letter && !entry_find(ledger, letter->id, history_text(event, "to")))
        (void)entry_add(ledger, letter, history_text(event, "to"), at_ms);
    else
        find(ledger, at_ms, "I1", history_text(event, "to"), "queued twice, or without its message");
}

/* A notice is a message of its own, to the sender of the other. */
static void on_notice(struct ledger *ledger, const json_t *event, int64_t at_ms)
{
    struct letter *about = letter_of_id(ledger, history_text(event, "about"));
    struct buf id = {0};
    if (!about) {
        find(ledger, at_ms, "I1", history_text(event, "id"), "a notice about no message");
        return;
    }
    if (about->entries)
        remember(ledger, about->entries, false);
    about->told += strcmp(history_text(event, "note"), "failed") == 0;
    buf_printf(&id, "<%s@relay.lab.test>", history_text(event, "id"));
    struct letter *notice = letter_add(ledger, buf_text(&id), history_text(event, "id"), "");
    struct entry *entry = entry_add(ledger, notice, about->sender, at_ms);
    remember(ledger, entry, true);
    buf_finish(&id);
}

static void on_arrived(struct ledger *ledger, const json_t *event, int64_t at_ms)
{
    size_t i;
    json_t *to;
    const char *mx = history_text(event, "mx");
    bool is_lost = strcmp(history_text(event, "answer"), "lost") == 0;
    ledger->counts.arrivals++;
    json_array_foreach(json_object_get(event, "to"), i, to) {
        const char *address = json_string_value(to), *at = strrchr(address, '@');
        struct entry *entry = entry_find(ledger, history_text(event, "message_id"), address);
        if (!world_has_mx(ledger->world, at ? at + 1 : "", mx))
            find(ledger, at_ms, "I2", address, mx);
        if (!entry) {
            find(ledger, at_ms, "I2", address, "a message arrived for somebody whom it was not sent to");
            continue;
        }
        if (entry->state.end == END_FAILED)
            find(ledger, at_ms, "I1", entry->key, "sent after it was returned");
        (void)snprintf(entry->mx, sizeof entry->mx, "%s", mx);
        entry->lost += is_lost;
        entry->arrived += !is_lost;
        ledger->counts.lost_answers += is_lost;
        ledger->counts.repeated += entry->arrived + entry->lost > 1;
        if (entry->arrived > entry->excused + 1)
            find(ledger, at_ms, "I3", entry->key, "delivered twice");
    }
}

static int64_t wait_least(const struct config_schedule *schedule, int attempts, int sign)
{
    int place = attempts - 1 > 3 ? 3 : attempts - 1;
    int64_t interval = schedule->retry_ms[place];
    return interval + sign * (interval * schedule->jitter_percent / 100);
}

static int64_t expires_ms(const struct ledger *ledger, const struct entry *entry)
{
    int64_t expire = ledger->config->queue.schedule.expire_ms, null_expire = ledger->config->queue.null_expire_ms;
    return entry->queued_ms + (entry->letter->sender[0] || null_expire > expire ? expire : null_expire);
}

static void check_next(struct ledger *ledger, const struct entry *entry, const json_t *event, int64_t at_ms)
{
    const struct config_schedule *schedule = &ledger->config->queue.schedule;
    int64_t wait_ms = history_ms(event, "next") - history_time_ms(event);
    bool is_last = at_ms + wait_ms >= expires_ms(ledger, entry) - TOLERANCE_MS;
    int attempts = (int)json_integer_value(json_object_get(event, "attempt"));
    if (attempts != entry->state.attempts + 1)
        find(ledger, at_ms, "I5", entry->key, "attempts are not counted one by one");
    if (wait_ms > wait_least(schedule, attempts, 1) + TOLERANCE_MS || (!is_last && wait_ms < wait_least(schedule, attempts, -1) - TOLERANCE_MS))
        find(ledger, at_ms, "I5", entry->key, "the next attempt is planned outside of the policy's bounds");
    if (at_ms + wait_ms > expires_ms(ledger, entry) + TOLERANCE_MS)
        find(ledger, at_ms, "I6", entry->key, "the next attempt is planned after it expires");
}

static void on_attempt(struct ledger *ledger, const json_t *event, const char *kind, int64_t at_ms)
{
    struct letter *letter = letter_of_id(ledger, history_text(event, "id"));
    struct entry *entry = letter ? entry_find(ledger, letter->id, history_text(event, "to")) : NULL;
    bool is_deferred = strcmp(kind, "deferred") == 0 || strcmp(kind, "unknown") == 0, is_delivered = strcmp(kind, "delivered") == 0;
    if (!entry) {
        find(ledger, at_ms, "I1", history_text(event, "to"), "an attempt for no recipient of a message");
        return;
    }
    if (entry->state.end != END_NONE)
        find(ledger, at_ms, "I1", entry->key, "a second end, or an attempt after it");
    if (!ledger->is_clock_set) {
        if (at_ms < entry->state.next_ms - TOLERANCE_MS)
            find(ledger, at_ms, "I5", entry->key, "tried before its time");
        if (at_ms > expires_ms(ledger, entry) + SLACK_MS)
            find(ledger, at_ms, "I6", entry->key, "waited beyond its expiry");
        if (is_deferred)
            check_next(ledger, entry, event, at_ms);
    }
    remember(ledger, entry, false);
    entry->state.attempts = (int)json_integer_value(json_object_get(event, "attempt"));
    if (is_deferred) {
        entry->state.next_ms = at_ms + history_ms(event, "next") - history_time_ms(event);
        return;
    }
    if (is_delivered && (entry->arrived == 0 || strcmp(entry->mx, history_text(event, "mx")) != 0))
        find(ledger, at_ms, "I2", entry->key, "told as delivered, and no server of that name has answered for it");
    entry->state.end = is_delivered ? END_DELIVERED : END_FAILED;
    letter->failed += !is_delivered;
    ledger->counts.delivered += is_delivered;
    ledger->counts.returned += !is_delivered;
}

static void on_done(struct ledger *ledger, const json_t *event, int64_t at_ms)
{
    const struct letter *letter = letter_of_id(ledger, history_text(event, "id"));
    for (const struct entry *entry = letter ? letter->entries : NULL; entry; entry = entry->next)
        if (entry->state.end == END_NONE)
            find(ledger, at_ms, "I1", entry->key, "its message left the queue before it had come to an end");
}

/* What was on its way when the relay was cut off may be sent again. */
static void on_step(struct ledger *ledger, const json_t *event)
{
    const char *does = history_text(event, "does");
    bool is_kill = strstr(does, "killed") != NULL;
    if (is_kill && ledger->is_full)
        take_back(ledger);
    if (is_kill || strstr(does, "start anew")) {
        struct entry *entry, *next;
        HASH_ITER(hh, ledger->entries, entry, next)
            if (entry->state.end == END_NONE)
                entry->excused = entry->arrived;
        ledger->counts.kills += is_kill;
    }
    if (strcmp(does, "the disk is full") == 0)
        ledger->is_full = true;
    if (strstr(does, "has room")) {
        ledger->is_full = false;
        ledger->undo_count = 0;
    }
    ledger->is_clock_set = ledger->is_clock_set || strstr(does, "clock");
}

static void on_visited(struct ledger *ledger, const json_t *event, int64_t at_ms)
{
    if (json_integer_value(json_object_get(event, "open")) > ledger->config->delivery.connections_per_site)
        find(ledger, at_ms, "I4", history_text(event, "mx"), "more connections than delivery.connections_per_site");
}

void ledger_event(struct ledger *ledger, const json_t *event, int64_t at_ms)
{
    const char *kind = history_text(event, "event");
    ledger->counts.events++;
    if (strcmp(kind, "taken") == 0)
        on_taken(ledger, event, at_ms);
    else if (strcmp(kind, "queued") == 0)
        on_queued(ledger, event, at_ms);
    else if (strcmp(kind, "notice") == 0)
        on_notice(ledger, event, at_ms);
    else if (strcmp(kind, "arrived") == 0)
        on_arrived(ledger, event, at_ms);
    else if (strcmp(kind, "deferred") == 0 || strcmp(kind, "unknown") == 0 || strcmp(kind, "delivered") == 0 || strcmp(kind, "bounced") == 0
             || strcmp(kind, "expired") == 0)
        on_attempt(ledger, event, kind, at_ms);
    else if (strcmp(kind, "done") == 0)
        on_done(ledger, event, at_ms);
    else if (strcmp(kind, "step") == 0)
        on_step(ledger, event);
    else if (strcmp(kind, "visited") == 0)
        on_visited(ledger, event, at_ms);
    else if (strcmp(kind, "badmail") == 0 && letter_of_id(ledger, history_text(event, "id")))
        letter_of_id(ledger, history_text(event, "id"))->badmail++;
    else if (strcmp(kind, "error") == 0 && !ledger->is_full && !strstr(history_text(event, "reason"), "killed"))
        find(ledger, at_ms, "error", history_text(event, "id"), history_text(event, "reason"));
}

/* ---- the end ---- */

bool ledger_has_enough(const struct ledger *ledger)
{
    return ledger->finding_count >= FINDINGS_MAX;
}

const char *ledger_end(struct ledger *ledger, size_t left, struct ledger_counts *ret_counts)
{
    struct entry *entry, *next_entry;
    struct letter *letter, *next_letter;
    char text[80];
    HASH_ITER(hh, ledger->entries, entry, next_entry)
        if (entry->state.end == END_NONE)
            find(ledger, 0, "I1", entry->key, "has come to no end");
    HASH_ITER(hh, ledger->letters, letter, next_letter) {
        if (letter->failed && letter->sender[0] && letter->told == 0)
            find(ledger, 0, "I7", letter->id, "returned, and its sender was not told");
        if (letter->failed && !letter->sender[0] && letter->badmail == 0)
            find(ledger, 0, "I7", letter->id, "a null sender's, and not in Badmail");
    }
    (void)snprintf(text, sizeof text, "%zu messages are left", left);
    if (left)
        find(ledger, 0, "I1", "the queue", text);
    *ret_counts = ledger->counts;
    return ledger->finding_count ? buf_text(&ledger->findings) : NULL;
}

void ledger_destroy(struct ledger **ledger)
{
    struct ledger *l = *ledger;
    struct entry *entry, *next_entry;
    struct letter *letter, *next_letter;
    struct queue_id *id, *next_id;
    HASH_ITER(hh, l->entries, entry, next_entry) {
        HASH_DEL(l->entries, entry);
        free(entry->key);
        free(entry);
    }
    HASH_ITER(hh, l->letters, letter, next_letter) {
        HASH_DEL(l->letters, letter);
        free(letter->id);
        free(letter->sender);
        free(letter);
    }
    HASH_ITER(hh, l->ids, id, next_id) {
        HASH_DEL(l->ids, id);
        free(id->id);
        free(id);
    }
    free(l->undo);
    buf_finish(&l->findings);
    free(l);
    *ledger = NULL;
}
