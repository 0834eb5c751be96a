#include "smtpd/clients.h"

#include "base/hash.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { MINUTE_MS = 60000 };

struct client {
    unsigned char key[16];
    bool is_limited;
    int open;
    int64_t minute_ms; /* when the running minute began */
    int connections, messages, failures;
    UT_hash_handle hh;
};

struct clients {
    struct clients_limits limits;
    struct client *all;
    int64_t swept_ms;
};

struct clients *clients_create(const struct clients_limits *limits)
{
    struct clients *clients = mem_alloc(sizeof *clients);
    clients->limits = *limits;
    return clients;
}

static void forget(struct clients *clients, struct client *client)
{
    HASH_DEL(clients->all, client);
    free(client);
}

void clients_destroy(struct clients **clients)
{
    struct client *client, *next;
    HASH_ITER(hh, (*clients)->all, client, next) {
        forget(*clients, client);
    }
    free(*clients);
    *clients = NULL;
}

static void turn_minute(struct client *client, int64_t now_ms)
{
    if (now_ms - client->minute_ms < MINUTE_MS)
        return;
    client->minute_ms = now_ms;
    client->connections = client->messages = client->failures = 0;
}

/* Who has nothing open and whose minute is over is forgotten, once a minute. */
static void sweep(struct clients *clients, int64_t now_ms)
{
    struct client *client, *next;
    if (now_ms - clients->swept_ms < MINUTE_MS)
        return;
    clients->swept_ms = now_ms;
    HASH_ITER(hh, clients->all, client, next) {
        if (client->open == 0 && now_ms - client->minute_ms >= MINUTE_MS)
            forget(clients, client);
    }
}

struct client *clients_enter(struct clients *clients, const struct in6_addr *address, bool is_limited, int64_t now_ms,
                            const char **ret_reply)
{
    unsigned char key[16] = {0};
    struct client *client;
    memcpy(key, address->s6_addr, IN6_IS_ADDR_V4MAPPED(address) ? 16 : 8); /* N1 */
    sweep(clients, now_ms);
    HASH_FIND(hh, clients->all, key, sizeof key, client);
    if (!client) {
        client = mem_alloc(sizeof *client);
        memcpy(client->key, key, sizeof key);
        client->minute_ms = now_ms;
        HASH_ADD(hh, clients->all, key, sizeof key, client);
    }
    turn_minute(client, now_ms);
    client->is_limited = is_limited;
    const struct clients_limits *limits = &clients->limits;
    if (is_limited && limits->connections && client->open >= limits->connections) {
        *ret_reply = "421 4.7.0 too many connections from your address";
        return NULL;
    }
    if (is_limited && limits->connections_per_minute && client->connections >= limits->connections_per_minute) {
        *ret_reply = "421 4.7.0 too many connections a minute from your address";
        return NULL;
    }
    client->open++;
    client->connections++;
    return client;
}

void clients_leave(struct clients *clients, struct client *client, int64_t now_ms)
{
    client->open--;
    sweep(clients, now_ms);
}

bool clients_may_send(struct clients *clients, struct client *client, int64_t now_ms)
{
    turn_minute(client, now_ms);
    int most = clients->limits.messages_per_minute;
    return !client->is_limited || most == 0 || client->messages < most;
}

void clients_sent(struct client *client)
{
    client->messages++;
}

bool clients_may_try(struct client *client, int64_t now_ms)
{
    turn_minute(client, now_ms);
    return client->failures < CLIENTS_AUTH_TRIES_MAX;
}

void clients_failed(struct client *client)
{
    client->failures++;
}
