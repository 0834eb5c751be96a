#include "web/stream.h"

#include "base/mem.h"

#include <microhttpd.h>
#include <pthread.h>
#include <stdlib.h>

enum { COMMENT_AFTER = 20 }; /* wakes without a word */

struct stream {
    struct streams *all;
    struct MHD_Connection *connection;
    struct buf waiting;
    uint64_t cursor;
    unsigned quiet;
    bool is_asleep;
};

struct streams {
    pthread_mutex_t mutex;
    struct watch **watch;
    struct stream *list[STREAMS_MAX];
    bool is_ending;
};

struct streams *streams_create(struct watch **watch)
{
    struct streams *streams = mem_alloc(sizeof *streams);
    streams->watch = watch;
    pthread_mutex_init(&streams->mutex, NULL);
    return streams;
}

void streams_destroy(struct streams **streams)
{
    if (!*streams)
        return;
    pthread_mutex_destroy(&(*streams)->mutex);
    free(*streams);
    *streams = NULL;
}

void streams_wake(struct streams *streams)
{
    pthread_mutex_lock(&streams->mutex);
    for (size_t i = 0; i < STREAMS_MAX; i++) {
        struct stream *stream = streams->list[i];
        if (!stream || !stream->is_asleep)
            continue;
        stream->is_asleep = false;
        MHD_resume_connection(stream->connection);
    }
    pthread_mutex_unlock(&streams->mutex);
}

void streams_end(struct streams *streams)
{
    pthread_mutex_lock(&streams->mutex);
    streams->is_ending = true;
    pthread_mutex_unlock(&streams->mutex);
    streams_wake(streams);
}

static ssize_t read_stream(void *arg, uint64_t position, char *room, size_t size)
{
    struct stream *stream = arg;
    (void)position;
    if (stream->waiting.size == 0 && *stream->all->watch)
        watch_put_recent(*stream->all->watch, &stream->cursor, &stream->waiting);
    if (stream->waiting.size == 0 && ++stream->quiet >= COMMENT_AFTER)
        buf_append_text(&stream->waiting, ": still here\n\n"); /* finds connections that are gone */
    if (stream->waiting.size) {
        size_t part = stream->waiting.size < size ? stream->waiting.size : size;
        memcpy(room, stream->waiting.data, part);
        buf_remove_front(&stream->waiting, part);
        stream->quiet = 0;
        return (ssize_t)part;
    }
    pthread_mutex_lock(&stream->all->mutex);
    bool is_ending = stream->all->is_ending;
    if (!is_ending) {
        stream->is_asleep = true;
        MHD_suspend_connection(stream->connection);
    }
    pthread_mutex_unlock(&stream->all->mutex);
    return is_ending ? (ssize_t)MHD_CONTENT_READER_END_OF_STREAM : 0;
}

static void free_stream(void *arg)
{
    struct stream *stream = arg;
    pthread_mutex_lock(&stream->all->mutex);
    for (size_t i = 0; i < STREAMS_MAX; i++)
        if (stream->all->list[i] == stream)
            stream->all->list[i] = NULL;
    pthread_mutex_unlock(&stream->all->mutex);
    buf_finish(&stream->waiting);
    free(stream);
}

static bool add(struct streams *streams, struct stream *stream)
{
    bool is_added = false;
    pthread_mutex_lock(&streams->mutex);
    for (size_t i = 0; i < STREAMS_MAX && !is_added && !streams->is_ending; i++)
        if (!streams->list[i]) {
            streams->list[i] = stream;
            is_added = true;
        }
    pthread_mutex_unlock(&streams->mutex);
    return is_added;
}

bool streams_begin(struct streams *streams, struct MHD_Connection *connection)
{
    struct stream *stream = mem_alloc(sizeof *stream);
    *stream = (struct stream){.all = streams, .connection = connection};
    buf_append_text(&stream->waiting, "retry: 2000\n\n");
    if (!add(streams, stream)) {
        free_stream(stream);
        return false;
    }
    struct MHD_Response *response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 4096, read_stream, stream, free_stream);
    if (!response) {
        free_stream(stream);
        return false;
    }
    (void)MHD_add_response_header(response, "Content-Type", "text/event-stream");
    (void)MHD_add_response_header(response, "Cache-Control", "no-store");
    (void)MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    enum MHD_Result result = MHD_queue_response(connection, 200, response);
    MHD_destroy_response(response);
    return result == MHD_YES;
}
