#include "smtpd/pam.h"

#include "base/slice.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WAIT_MS = 1000 * (PAM_CHILD_S + 5), ASKS_MAX = 2 * PAM_CHILDREN_MAX };

/* Threads that wait here are missing elsewhere: messages are made durable by the same ones. */
static atomic_int asks;

static bool send_question(int fd, int answer_fd, const char *packet, size_t size)
{
    union { struct cmsghdr head; char room[CMSG_SPACE(sizeof(int))]; } control = {.room = {0}};
    struct iovec content = {(void *)(uintptr_t)packet, size};
    struct msghdr message = {.msg_iov = &content, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control.room};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(head), &answer_fd, sizeof(int));
    return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)size;
}

static enum pam_verdict wait_for_answer(int fd)
{
    struct pollfd watched = {.fd = fd, .events = POLLIN};
    unsigned char answer;
    int ready;
    while ((ready = poll(&watched, 1, WAIT_MS)) < 0 && errno == EINTR)
        continue;
    if (ready <= 0 || read(fd, &answer, 1) != 1)
        return PAM_NO_ANSWER;
    return answer == PAM_PASSED ? PAM_PASSED : answer == PAM_REFUSED ? PAM_REFUSED : PAM_NO_ANSWER;
}

static enum pam_verdict ask(int fd, const char *packet, size_t size)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return PAM_NO_ANSWER;
    bool is_sent = send_question(fd, ends[1], packet, size);
    close(ends[1]);
    enum pam_verdict verdict = is_sent ? wait_for_answer(ends[0]) : PAM_NO_ANSWER;
    close(ends[0]);
    return verdict;
}

enum pam_verdict pam_ask(int fd, const char *name, const char *password, const char *client)
{
    const char *const texts[] = {name, password, client};
    char packet[3 * (PAM_TEXT_SIZE_MAX + 1)];
    enum pam_verdict verdict = PAM_NO_ANSWER;
    size_t size = 0;
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        size_t length = strlen(texts[i]);
        if (length > PAM_TEXT_SIZE_MAX)
            return PAM_REFUSED;
        memcpy(packet + size, texts[i], length + 1);
        size += length + 1;
    }
    if (atomic_fetch_add(&asks, 1) < ASKS_MAX)
        verdict = ask(fd, packet, size);
    atomic_fetch_sub(&asks, 1);
    explicit_bzero(packet, sizeof packet);
    return verdict;
}
