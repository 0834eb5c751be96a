#include "os/post.h"

#include "base/mem.h"

#include <event2/event.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct post {
    pthread_mutex_t mutex;
    struct letter *first;
    struct letter **last;
    int event_fd;
    struct event *event; /* NULL unless attached to a loop */
};

struct post *post_create(struct error *error)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fd < 0) {
        (void)error_set_errno(error, "eventfd");
        return NULL;
    }
    struct post *post = mem_alloc(sizeof *post);
    pthread_mutex_init(&post->mutex, NULL);
    post->last = &post->first;
    post->event_fd = fd;
    return post;
}

void post_destroy(struct post **post)
{
    if (!*post)
        return;
    if ((*post)->event)
        event_free((*post)->event);
    close((*post)->event_fd);
    pthread_mutex_destroy(&(*post)->mutex);
    free(*post);
    *post = NULL;
}

void post_send(struct post *post, struct letter *letter)
{
    letter->next = NULL;
    pthread_mutex_lock(&post->mutex);
    bool was_empty = post->first == NULL;
    *post->last = letter;
    post->last = &letter->next;
    pthread_mutex_unlock(&post->mutex);
    if (was_empty) {
        uint64_t one = 1;
        (void)!write(post->event_fd, &one, sizeof one); /* full counter: the receiver is awake anyway */
    }
}

int post_fd(const struct post *post)
{
    return post->event_fd;
}

void post_run(struct post *post)
{
    uint64_t count;
    (void)!read(post->event_fd, &count, sizeof count); /* EAGAIN: somebody called without need */
    pthread_mutex_lock(&post->mutex);
    struct letter *letter = post->first;
    post->first = NULL;
    post->last = &post->first;
    pthread_mutex_unlock(&post->mutex);
    while (letter) {
        struct letter *next = letter->next;
        letter->run(letter);
        letter = next;
    }
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    post_run(arg);
}

bool post_attach(struct post *post, struct event_base *base, struct error *error)
{
    CHECK(post->event == NULL);
    post->event = event_new(base, post->event_fd, EV_READ | EV_PERSIST, on_readable, post);
    if (!post->event || event_add(post->event, NULL) != 0)
        return error_set(error, "can't watch an eventfd");
    return true;
}
