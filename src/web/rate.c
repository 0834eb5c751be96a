#include "web/rate.h"

#include "base/mem.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>

enum { BUCKETS = 4096, MINUTE_MS = 60 * 1000 };

struct bucket { double left; int64_t at_ms; };

struct rate {
    pthread_mutex_t mutex;
    int per_minute;
    uint64_t key;
    struct bucket buckets[BUCKETS];
};

struct rate *rate_create(int per_minute)
{
    struct rate *rate = mem_alloc(sizeof *rate);
    rate->per_minute = per_minute;
    (void)!getrandom(&rate->key, sizeof rate->key, 0);
    for (size_t i = 0; i < BUCKETS; i++)
        rate->buckets[i].left = per_minute;
    pthread_mutex_init(&rate->mutex, NULL);
    return rate;
}

void rate_destroy(struct rate **rate)
{
    if (!*rate)
        return;
    pthread_mutex_destroy(&(*rate)->mutex);
    free(*rate);
    *rate = NULL;
}

static size_t place_of(const struct rate *rate, struct slice address)
{
    unsigned char binary[16];
    char text[64];
    uint64_t hash = 0xcbf29ce484222325ULL ^ rate->key;
    if (address.size < sizeof text) {
        memcpy(text, address.data, address.size);
        text[address.size] = '\0';
        if (inet_pton(AF_INET6, text, binary) == 1)
            address = slice_make((const char *)binary, 8);
    }
    for (size_t i = 0; i < address.size; i++)
        hash = (hash ^ (unsigned char)address.data[i]) * 0x100000001b3ULL;
    return (size_t)((hash ^ hash >> 32) % BUCKETS);
}

bool rate_take(struct rate *rate, struct slice address, int64_t now_ms)
{
    if (rate->per_minute == 0)
        return true;
    pthread_mutex_lock(&rate->mutex);
    struct bucket *bucket = &rate->buckets[place_of(rate, address)];
    if (bucket->at_ms)
        bucket->left += (double)(now_ms - bucket->at_ms) * rate->per_minute / MINUTE_MS;
    if (bucket->left > rate->per_minute)
        bucket->left = rate->per_minute;
    bucket->at_ms = now_ms;
    bool is_allowed = bucket->left >= 1;
    if (is_allowed)
        bucket->left -= 1;
    pthread_mutex_unlock(&rate->mutex);
    return is_allowed;
}
