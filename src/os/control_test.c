#include "base/buf.h"
#include "os/control.h"

#include "base/buf.h"
#include "base/mem.h"

#include <event2/event.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

/* A server on a loop of its own thread, until something arrives in its stop pipe. */
struct fixture {
    char dir[64], path[128];
    struct event_base *base;
    struct event *stop_event;
    struct control *control;
    pthread_t thread;
    int stop_fds[2];
    struct error error;
};

static void finish(evutil_socket_t fd, short what, void *arg)
{
    struct error error;
    (void)fd;
    (void)what;
    (void)error_set(&error, "at last");
    control_finish(arg, false, &error);
}

/* {"do": "echo", "text": …} comes back; "fail" fails; "grow" answers with 4 MB; "wait" fails when the next "wake" has come. */
static bool serve(void *arg, struct control_question *question, const json_t *request, json_t *answer, struct error *error)
{
    const char *what = json_string_value(json_object_get(request, "do"));
    static struct control_question *waiting;
    if (what && strcmp(what, "wait") == 0) {
        control_defer(question);
        waiting = question;
        return true;
    }
    if (what && strcmp(what, "wake") == 0)
        return waiting && event_base_once(*(struct event_base **)arg, -1, EV_TIMEOUT, finish, waiting, NULL) == 0;
    if (what && strcmp(what, "echo") == 0) {
        json_object_set(answer, "text", json_object_get(request, "text"));
        return true;
    }
    if (what && strcmp(what, "grow") == 0) {
        enum { SIZE = 4 * 1024 * 1024 };
        char *text = mem_alloc(SIZE + 1);
        memset(text, 'x', SIZE);
        json_object_set_new(answer, "text", json_string(text));
        free(text);
        return true;
    }
    return error_set(error, "no such request");
}

static void stop(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    event_base_loopbreak(arg);
}

static void *loop(void *arg)
{
    event_base_dispatch(arg);
    return NULL;
}

static int set_up(void **state)
{
    struct fixture *fixture = mem_alloc(sizeof *fixture);
    (void)snprintf(fixture->dir, sizeof fixture->dir, "/tmp/control-test-XXXXXX");
    if (!mkdtemp(fixture->dir) || pipe(fixture->stop_fds) != 0)
        return -1;
    (void)snprintf(fixture->path, sizeof fixture->path, "%s/control.sock", fixture->dir);
    fixture->base = event_base_new();
    fixture->stop_event =
        event_new(fixture->base, fixture->stop_fds[0], EV_READ, stop, fixture->base);
    event_add(fixture->stop_event, NULL);
    *state = fixture;
    if (!control_listen(fixture->base, fixture->path, serve, &fixture->base, &fixture->control,
                        &fixture->error))
        return -1;
    return pthread_create(&fixture->thread, NULL, loop, fixture->base);
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    if (write(fixture->stop_fds[1], "", 1) != 1)
        return -1;
    pthread_join(fixture->thread, NULL);
    control_close(&fixture->control);
    event_free(fixture->stop_event);
    event_base_free(fixture->base);
    close(fixture->stop_fds[0]);
    close(fixture->stop_fds[1]);
    /* The socket file is gone. */
    int result = access(fixture->path, F_OK) == 0 || rmdir(fixture->dir) != 0;
    free(fixture);
    return result;
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = 20};
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    return fd;
}

/* Sends these bytes and reads to the end. */
static void talk(const char *path, struct slice bytes, char *ret_answer, size_t size)
{
    int fd = connect_to(path);
    size_t used = 0;
    ssize_t got;
    while (bytes.size) {
        ssize_t sent = send(fd, bytes.data, bytes.size, MSG_NOSIGNAL);
        if (sent < 0)
            break; /* closed on us */
        bytes = slice_from(bytes, (size_t)sent);
    }
    while (used < size - 1 && (got = recv(fd, ret_answer + used, size - 1 - used, 0)) > 0)
        used += (size_t)got;
    ret_answer[used] = '\0';
    close(fd);
}

static void assert_served(struct fixture *fixture)
{
    json_t *request = json_pack("{s:s, s:s}", "do", "echo", "text", "hello \"\n\xc3\xbc"),
           *answer = NULL;
    enum control_result result = control_request(fixture->path, request, &answer, &fixture->error);
    if (result != CONTROL_ANSWERED)
        fail_msg("%s", fixture->error.text);
    assert_string_equal(json_string_value(json_object_get(answer, "text")), "hello \"\n\xc3\xbc");
    assert_true(json_is_true(json_object_get(answer, "ok")));
    json_decref(answer);
    json_decref(request);
}

static void a_request_gets_its_answer(void **state)
{
    for (int i = 0; i < 100; i++)
        assert_served(*state);
}

static void a_refusal_arrives_with_its_reason(void **state)
{
    struct fixture *fixture = *state;
    json_t *request = json_pack("{s:s}", "do", "nonsense"), *answer = NULL;
    assert_int_equal(control_request(fixture->path, request, &answer, &fixture->error),
                     CONTROL_FAILED);
    assert_string_equal(fixture->error.text, "no such request");
    assert_null(answer);
    json_decref(request);
}

static void a_long_answer_arrives_whole(void **state)
{
    struct fixture *fixture = *state;
    json_t *request = json_pack("{s:s}", "do", "grow"), *answer = NULL;
    assert_int_equal(control_request(fixture->path, request, &answer, &fixture->error),
                     CONTROL_ANSWERED);
    assert_int_equal(json_string_length(json_object_get(answer, "text")), 4 * 1024 * 1024);
    json_decref(answer);
    json_decref(request);
}

static void K1_an_ill_formed_request_is_refused_and_the_next_one_served(void **state)
{
    static const struct { const char *bytes, *answer; } rows[] = {
        {"\n", "\"ok\": false"},
        {"hello\n", "no JSON object"},
        {"[1]\n", "no JSON object"},
        {"{\"do\": \"echo\"\n", "no JSON object"},
        {"{\"do\": 1}\n", "no such request"},
        {"{\"do\": \"echo\", \"do\": \"grow\"}\n", "no JSON object"},
        {"{\"do\": \"\xff\"}\n", "no JSON object"},
        {"{\"do\":\"echo\",\"text\":1}\n{\"do\":\"grow\"}\n", "\"text\": 1"},
    };
    struct fixture *fixture = *state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char answer[1024], packed[64];
        talk(fixture->path, slice_of(rows[i].bytes), answer, sizeof answer);
        size_t used = 0;
        for (const char *c = rows[i].answer; *c; c++) /* the answer is compact JSON */
            if (*c != ' ' || used == 0 || packed[used - 1] != ':')
                packed[used++] = *c;
        packed[used] = '\0';
        if (!strstr(answer, packed))
            fail_msg("%s: %s", rows[i].bytes, answer);
        assert_served(fixture);
    }
}

static void wake(struct fixture *fixture)
{
    json_t *request = json_pack("{s:s}", "do", "wake"), *answer = NULL;
    assert_int_equal(control_request(fixture->path, request, &answer, &fixture->error), CONTROL_ANSWERED);
    json_decref(answer);
    json_decref(request);
}

static void K3_others_are_served_while_an_answer_takes_its_time(void **state)
{
    struct fixture *fixture = *state;
    char answer[1024] = "";
    int fd = connect_to(fixture->path);
    assert_int_equal(send(fd, "{\"do\":\"wait\"}\n", 14, MSG_NOSIGNAL), 14);
    for (int i = 0; i < 10; i++)
        assert_served(fixture);
    assert_int_equal(recv(fd, answer, sizeof answer, MSG_DONTWAIT), -1);
    wake(fixture);
    assert_true(recv(fd, answer, sizeof answer - 1, MSG_WAITALL) > 0);
    assert_non_null(strstr(answer, "at last"));
    close(fd);
}

static void K3_who_is_gone_when_the_answer_comes_harms_nobody(void **state)
{
    struct fixture *fixture = *state;
    struct linger at_once = {.l_onoff = 1};
    int fd = connect_to(fixture->path);
    assert_int_equal(send(fd, "{\"do\":\"wait\"}\n", 14, MSG_NOSIGNAL), 14);
    assert_served(fixture);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    close(fd);
    assert_served(fixture);
    wake(fixture);
    assert_served(fixture);
}

static void K1_nesting_without_end_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct buf request = {0};
    char answer[1024];
    for (int i = 0; i < 100000; i++)
        buf_append_text(&request, "{\"a\":");
    buf_append_text(&request, "\n");
    talk(fixture->path, buf_slice(&request), answer, sizeof answer);
    assert_non_null(strstr(answer, "\"ok\":false"));
    buf_finish(&request);
    assert_served(fixture);
}

static void K1_a_request_over_one_mebibyte_closes_the_connection(void **state)
{
    struct fixture *fixture = *state;
    static const struct { size_t size; bool has_end, is_answered; } rows[] = {
        {1024 * 1024, true, true}, {1024 * 1024 + 1, true, false}, {2 * 1024 * 1024, false, false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char answer[1024];
        char *bytes = mem_alloc(rows[i].size + 1);
        memset(bytes, ' ', rows[i].size);
        memcpy(bytes, "{\"do\":\"echo\"}", 13);
        bytes[rows[i].size] = '\n';
        talk(fixture->path, slice_make(bytes, rows[i].size + rows[i].has_end), answer,
             sizeof answer);
        assert_int_equal(strstr(answer, "\"ok\":true") != NULL, rows[i].is_answered);
        free(bytes);
        assert_served(fixture);
    }
}

static void K1_a_client_that_hangs_up_harms_nobody(void **state)
{
    struct fixture *fixture = *state;
    static const char *const parts[] = {"", "{\"do\":", "{\"do\":\"grow\"}\n"};
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        int fd = connect_to(fixture->path);
        assert_int_equal(send(fd, parts[i], strlen(parts[i]), MSG_NOSIGNAL), strlen(parts[i]));
        close(fd);
        assert_served(fixture);
    }
}

static void K2_silent_clients_up_to_the_limit_do_not_stop_the_others(void **state)
{
    struct fixture *fixture = *state;
    int fds[63];
    for (size_t i = 0; i < COUNT_OF(fds); i++)
        fds[i] = connect_to(fixture->path);
    assert_served(fixture);
    for (size_t i = 0; i < COUNT_OF(fds); i++)
        close(fds[i]);
}

static void K2_one_over_the_limit_waits_until_another_leaves(void **state)
{
    struct fixture *fixture = *state;
    static const char request[] = "{\"do\":\"echo\"}\n";
    char answer[64] = "";
    int fds[64];
    for (size_t i = 0; i < COUNT_OF(fds); i++)
        fds[i] = connect_to(fixture->path);
    int waiting = connect_to(fixture->path);
    assert_int_equal(send(waiting, request, sizeof request - 1, MSG_NOSIGNAL), sizeof request - 1);
    close(fds[0]);
    assert_true(recv(waiting, answer, sizeof answer - 1, 0) > 0);
    assert_non_null(strstr(answer, "true"));
    close(waiting);
    for (size_t i = 1; i < COUNT_OF(fds); i++)
        close(fds[i]);
}

static void only_owner_and_group_may_connect(void **state)
{
    struct fixture *fixture = *state;
    struct stat is;
    assert_int_equal(stat(fixture->path, &is), 0);
    assert_true(S_ISSOCK(is.st_mode));
    assert_int_equal(is.st_mode & 0777, 0660);
}

static void a_second_relay_is_refused_and_the_first_goes_on(void **state)
{
    struct fixture *fixture = *state;
    struct event_base *base = event_base_new();
    struct control *second = NULL;
    assert_false(control_listen(base, fixture->path, serve, NULL, &second, &fixture->error));
    assert_non_null(strstr(fixture->error.text, "another relay"));
    event_base_free(base);
    assert_served(fixture);
}

static void a_socket_left_by_a_kill_is_replaced_and_means_not_running(void **state)
{
    char dir[] = "/tmp/control-test-XXXXXX", path[128];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct control *control;
    struct error error;
    json_t *request = json_object(), *answer = NULL;
    (void)state;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/control.sock", dir);
    assert_int_equal(control_request(path, request, &answer, &error), CONTROL_NOT_RUNNING);
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    close(fd);
    assert_int_equal(control_request(path, request, &answer, &error), CONTROL_NOT_RUNNING);
    struct event_base *base = event_base_new();
    assert_true(control_listen(base, path, serve, NULL, &control, &error));
    control_close(&control);
    event_base_free(base);
    json_decref(request);
    assert_int_equal(rmdir(dir), 0);
}

static void a_path_longer_than_a_socket_address_works(void **state)
{
    char dir[] = "/tmp/control-test-XXXXXX", folder[200], path[256];
    struct fixture fixture = {0};
    (void)state;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(folder, sizeof folder, "%s/%0120d", dir, 1);
    (void)snprintf(path, sizeof path, "%s/control.sock", folder);
    assert_int_equal(mkdir(folder, 0700), 0);
    struct event_base *base = event_base_new();
    assert_true(control_listen(base, path, serve, NULL, &fixture.control, &fixture.error));
    struct stat is;
    assert_int_equal(stat(path, &is), 0);
    assert_int_equal(is.st_mode & 0777, 0660);
    struct control *second;
    assert_false(control_listen(base, path, serve, NULL, &second, &fixture.error));
    assert_non_null(strstr(fixture.error.text, "another relay"));
    control_close(&fixture.control);
    event_base_free(base);
    assert_int_equal(rmdir(folder), 0);
    assert_int_equal(rmdir(dir), 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_request_gets_its_answer),
        TEST(a_refusal_arrives_with_its_reason),
        TEST(a_long_answer_arrives_whole),
        TEST(K1_an_ill_formed_request_is_refused_and_the_next_one_served),
        TEST(K1_nesting_without_end_is_refused),
        TEST(K1_a_request_over_one_mebibyte_closes_the_connection),
        TEST(K1_a_client_that_hangs_up_harms_nobody),
        TEST(K3_others_are_served_while_an_answer_takes_its_time),
        TEST(K3_who_is_gone_when_the_answer_comes_harms_nobody),
        TEST(K2_silent_clients_up_to_the_limit_do_not_stop_the_others),
        TEST(K2_one_over_the_limit_waits_until_another_leaves),
        TEST(only_owner_and_group_may_connect),
        TEST(a_second_relay_is_refused_and_the_first_goes_on),
        cmocka_unit_test(a_socket_left_by_a_kill_is_replaced_and_means_not_running),
        cmocka_unit_test(a_path_longer_than_a_socket_address_works),
    };
    (void)signal(SIGPIPE, SIG_IGN); /* K4 */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
