#include "smtpd/pam.h"

#include "base/slice.h"

#include <errno.h>
#include <poll.h>
#include <security/pam_appl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct question { const char *name, *password, *client; };

/* ---- in the child ---- */

static int converse(int count, const struct pam_message **messages, struct pam_response **ret_responses, void *arg)
{
    const struct question *question = arg;
    if (count < 1 || count > PAM_MAX_NUM_MSG)
        return PAM_CONV_ERR;
    struct pam_response *responses = calloc((size_t)count, sizeof *responses);
    if (!responses)
        return PAM_BUF_ERR;
    for (int i = 0; i < count; i++) { /* PAM frees the texts */
        int style = messages[i]->msg_style;
        if (style == PAM_PROMPT_ECHO_OFF)
            responses[i].resp = strdup(question->password);
        else if (style == PAM_PROMPT_ECHO_ON)
            responses[i].resp = strdup(question->name);
    }
    *ret_responses = responses;
    return PAM_SUCCESS;
}

/* "smtp", or "/folder/smtp". */
static int start(const char *service, const char *name, const struct pam_conv *conversation, pam_handle_t **ret_handle)
{
    const char *slash = strrchr(service, '/');
    if (!slash)
        return pam_start(service, name, conversation, ret_handle);
    char *folder = strndup(service, slash == service ? 1 : (size_t)(slash - service));
    int result = folder ? pam_start_confdir(slash + 1, name, conversation, folder, ret_handle) : PAM_BUF_ERR;
    free(folder);
    return result;
}

static enum pam_verdict judge(const char *service, const struct question *question)
{
    const struct pam_conv conversation = {converse, (void *)(uintptr_t)question};
    pam_handle_t *handle = NULL;
    int result = start(service, question->name, &conversation, &handle);
    if (result != PAM_SUCCESS)
        return PAM_NO_ANSWER;
    (void)pam_set_item(handle, PAM_RHOST, question->client);
    result = pam_authenticate(handle, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
    if (result == PAM_SUCCESS)
        result = pam_acct_mgmt(handle, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
    (void)pam_end(handle, result);
    return result == PAM_SUCCESS                                                            ? PAM_PASSED
           : result == PAM_AUTHINFO_UNAVAIL || result == PAM_ABORT || result == PAM_BUF_ERR ? PAM_NO_ANSWER
                                                                                            : PAM_REFUSED;
}

/* ---- the process ---- */

/* Three texts that fill the packet (M1). */
static bool read_texts(char *packet, size_t size, struct question *ret_question)
{
    const char **texts[] = {&ret_question->name, &ret_question->password, &ret_question->client};
    size_t at = 0;
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        size_t length = strnlen(packet + at, size - at);
        if (at + length >= size || length > PAM_TEXT_SIZE_MAX)
            return false;
        *texts[i] = packet + at;
        at += length + 1;
    }
    return at == size && ret_question->name[0];
}

/* The packet's size, and the pipe to answer in; -1 where there is no question. */
static ssize_t receive(int fd, char *packet, size_t size, int *ret_answer_fd)
{
    union { struct cmsghdr head; char room[CMSG_SPACE(4 * sizeof(int))]; } control;
    struct iovec content = {packet, size};
    struct msghdr message = {.msg_iov = &content, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control.room};
    ssize_t got = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    size_t count = 0;
    *ret_answer_fd = -1;
    for (struct cmsghdr *head = got > 0 ? CMSG_FIRSTHDR(&message) : NULL; head; head = CMSG_NXTHDR(&message, head)) {
        size_t here = head->cmsg_type == SCM_RIGHTS ? (head->cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;
        for (size_t i = 0; i < here; i++, count++) {
            int given;
            memcpy(&given, CMSG_DATA(head) + i * sizeof given, sizeof given);
            if (count == 0)
                *ret_answer_fd = given;
            else
                close(given);
        }
    }
    return message.msg_flags & (MSG_TRUNC | MSG_CTRUNC) || count != 1 ? -1 : got;
}

static void serve_one(int answer_fd, const char *service, const struct question *question, const sigset_t *outside)
{
    pid_t parent = getpid();
    if (fork() != 0)
        return; /* a fork that failed closes the pipe, too */
    (void)sigprocmask(SIG_SETMASK, outside, NULL);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
        _exit(1);
    (void)alarm(PAM_CHILD_S);
    unsigned char answer = (unsigned char)judge(service, question);
    _exit(write(answer_fd, &answer, 1) == 1 ? 0 : 1);
}

static int reap(void)
{
    int count = 0;
    while (waitpid(-1, NULL, WNOHANG) > 0)
        count++;
    return count;
}

static void take(int fd, const char *service, int *children, const sigset_t *outside)
{
    char packet[3 * (PAM_TEXT_SIZE_MAX + 1)];
    struct question question;
    int answer_fd;
    ssize_t size = receive(fd, packet, sizeof packet, &answer_fd);
    if (size > 0 && *children < PAM_CHILDREN_MAX && read_texts(packet, (size_t)size, &question)) {
        (*children)++;
        serve_one(answer_fd, service, &question, outside);
    }
    if (answer_fd >= 0)
        close(answer_fd);
    explicit_bzero(packet, sizeof packet);
}

/* The signal that ends it; 0: a child did, or none. */
static int read_signal(int fd, int *children)
{
    struct signalfd_siginfo info;
    if (read(fd, &info, sizeof info) != sizeof info)
        return 0;
    if (info.ssi_signo != SIGCHLD)
        return (int)info.ssi_signo;
    *children -= reap();
    return 0;
}

int pam_serve(int fd, const char *service, const sigset_t *ends)
{
    sigset_t watched_signals = *ends, outside;
    int children = 0, number = 0;
    sigaddset(&watched_signals, SIGCHLD);
    signal(SIGHUP, SIG_DFL); /* what is ignored does not come */
    (void)sigprocmask(SIG_BLOCK, &watched_signals, &outside);
    int signal_fd = signalfd(-1, &watched_signals, SFD_CLOEXEC | SFD_NONBLOCK);
    struct pollfd watched[] = {{.fd = fd, .events = POLLIN}, {.fd = signal_fd, .events = POLLIN}};
    while (signal_fd >= 0 && number == 0) {
        if (poll(watched, COUNT_OF(watched), -1) < 0 && errno != EINTR)
            break;
        if (watched[1].revents)
            number = read_signal(signal_fd, &children);
        if (watched[0].revents & POLLIN)
            take(fd, service, &children, &outside);
        else if (watched[0].revents)
            break; /* the supervisor is gone */
    }
    if (signal_fd >= 0)
        close(signal_fd);
    return number;
}
