/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cli_client.c - the blocking client against our own admin server, and against servers that
 * say anything.
 */
#include "admin/admin.h"
#include "base/fr_mem.h"
#include "base/fr_time.h"
#include "cli/cli_client.h"

#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define TIMEOUT_US (10 * FR_US_PER_S)

/* ---- against the admin server -------------------------------------------------------------- */

struct house {
    struct loop *loop;
    struct admin *admin;
    struct loop_msg stop;
    pthread_t thread;
    char folder[64];
    char address[128];
};

static void
on_echo(void *ctx, struct admin_exchange *exchange, const struct admin_request *request)
{
    struct fr_buf out;
    (void)ctx;
    fr_buf_init(&out, (size_t)8 << 20);
    assert_int_equal(fr_buf_printf(&out, "%.*s %.*s ", FR_VIEW_ARG(request->query),
                                   FR_VIEW_ARG(request->content_type)),
                     FR_OK);
    assert_int_equal(fr_buf_append_view(&out, request->body), FR_OK);
    admin_answer(exchange, 201, "text/plain", fr_buf_view(&out));
    fr_buf_fini(&out);
}

static const struct admin_route routes[] = {
    {"POST", "/echo", on_echo}, {"GET", "/echo", on_echo}, {NULL, NULL, NULL}};

static void *
house_main(void *ctx)
{
    struct house *house = ctx;
    return loop_run(house->loop) == FR_OK ? house : NULL;
}

static void
house_open(struct house *house, size_t body_bytes_max)
{
    struct loop_addr addr;
    int fd, error;
    memset(house, 0, sizeof(*house));
    (void)snprintf(house->folder, sizeof(house->folder), "/tmp/test-cli-XXXXXX");
    assert_non_null(mkdtemp(house->folder));
    (void)snprintf(house->address, sizeof(house->address), "unix:%s/sock", house->folder);
    assert_int_equal(loop_addr_parse(fr_view_of(house->address), &addr), FR_OK);
    assert_int_equal(loop_bind(&addr, false, &fd, &error), FR_OK);
    assert_int_equal(loop_new(NULL, &house->loop), FR_OK);
    assert_int_equal(admin_new(house->loop, fd, routes, body_bytes_max, house, &house->admin),
                     FR_OK);
    assert_int_equal(pthread_create(&house->thread, NULL, house_main, house), 0);
}

static void
on_house_stop(void *ctx)
{
    struct house *house = ctx;
    loop_stop(house->loop);
}

static void
house_close(struct house *house)
{
    loop_post(house->loop, &house->stop, on_house_stop, house);
    pthread_join(house->thread, NULL);
    admin_free(&house->admin);
    loop_free(&house->loop);
    assert_int_equal(rmdir(house->folder), 0);
}

static void
test_admin_server(void **state)
{
    struct house house;
    struct fr_buf out;
    char why[256] = "";
    int status = 0;
    (void)state;
    house_open(&house, 4 << 20);
    fr_buf_init(&out, 8 << 20);
    assert_int_equal(cli_http(house.address, "POST", "/echo?a=b", FR_VIEW("{\"x\": 1}"), TIMEOUT_US,
                              &status, &out, why, sizeof(why)),
                     FR_OK);
    assert_int_equal(status, 201);
    assert_string_equal(out.data, "a=b application/json {\"x\": 1}");
    fr_buf_clear(&out);
    assert_int_equal(cli_http(house.address, "POST", "/echo", FR_VIEW("<a/>"), TIMEOUT_US, &status,
                              &out, why, sizeof(why)),
                     FR_OK);
    assert_string_equal(out.data, " application/xml <a/>");
    fr_buf_clear(&out);
    assert_int_equal(cli_http(house.address, "GET", "/no", fr_view_make(NULL, 0), TIMEOUT_US,
                              &status, &out, why, sizeof(why)),
                     FR_OK);
    assert_int_equal(status, 404);
    fr_buf_clear(&out);
    assert_int_equal(cli_http(house.address, "HEAD", "/echo", fr_view_make(NULL, 0), TIMEOUT_US,
                              &status, &out, why, sizeof(why)),
                     FR_OK);
    assert_int_equal(status, 201);
    assert_int_equal(out.len, 0);
    /* Larger than all socket buffers. */
    size_t bytes = 3 << 20;
    char *body = fr_xalloc(bytes);
    memset(body, 'x', bytes);
    assert_int_equal(cli_http(house.address, "POST", "/echo", fr_view_make(body, bytes), TIMEOUT_US,
                              &status, &out, why, sizeof(why)),
                     FR_OK);
    assert_int_equal(out.len, bytes + 18);
    fr_buf_fini(&out);
    house_close(&house);
    /* Refused before it is all sent: the answer still arrives. */
    house_open(&house, 100);
    assert_int_equal(cli_http(house.address, "POST", "/echo", fr_view_make(body, bytes), TIMEOUT_US,
                              &status, &out, why, sizeof(why)),
                     FR_OK);
    assert_int_equal(status, 413);
    fr_buf_fini(&out);
    fr_free(body);
    house_close(&house);
}

static void
test_bad_requests(void **state)
{
    static const struct {
        const char *address, *method, *path;
        enum fr_err err;
        const char *words;
    } rows[] = {
        {"unix:/nonexistent/sock", "GET", "/", FR_ERR_NOT_FOUND, "No such file"},
        {"nonsense", "GET", "/", FR_ERR_SYNTAX, "not an address"},
        {"1.2.3:4", "GET", "/", FR_ERR_SYNTAX, "not an address"},
    };
    struct fr_buf out;
    char why[256];
    int status = 77;
    (void)state;
    fr_buf_init(&out, 100);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(cli_http(rows[i].address, rows[i].method, rows[i].path, FR_VIEW(""),
                                  TIMEOUT_US, &status, &out, why, sizeof(why)),
                         rows[i].err);
        assert_non_null(strstr(why, rows[i].words));
        assert_non_null(strstr(why, rows[i].address));
    }
    struct house house;
    house_open(&house, 100);
    static const char *const paths[] = {"", "echo", "/a b", "/a\r\nX: y", "/\x80", "/\x7f"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        assert_int_equal(cli_http(house.address, "GET", paths[i], FR_VIEW(""), TIMEOUT_US, &status,
                                  &out, why, sizeof(why)),
                         FR_ERR_SYNTAX);
    assert_int_equal(cli_http(house.address, "GE T", "/", FR_VIEW(""), TIMEOUT_US, &status, &out,
                              why, sizeof(why)),
                     FR_ERR_SYNTAX);
    assert_int_equal(status, 77); /* untouched */
    house_close(&house);
}

/* ---- against a server that says anything ---------------------------------------------------- */

struct babbler {
    int listener;
    const char *says;
    bool holds; /* the connection open, until its client leaves */
};

static void *
babbler_main(void *ctx)
{
    struct babbler *babbler = ctx;
    char bytes[1024];
    size_t len = 0;
    int fd = accept(babbler->listener, NULL, NULL);
    while (len < sizeof(bytes) - 1) {
        ssize_t got = read(fd, bytes + len, sizeof(bytes) - 1 - len);
        if (got <= 0)
            break;
        len += (size_t)got;
        bytes[len] = '\0';
        if (strstr(bytes, "\r\n\r\n"))
            break;
    }
    for (const char *at = babbler->says; *at; at++) /* byte by byte */
        if (send(fd, at, 1, MSG_NOSIGNAL) != 1)
            break;
    if (babbler->holds)
        (void)!read(fd, bytes, 1);
    close(fd);
    return NULL;
}

static enum fr_err
ask_babbler(const char *says, bool holds, int64_t timeout_us, int *out_status, struct fr_buf *out,
            char why[256])
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(in);
    char address[64];
    pthread_t thread;
    struct babbler babbler = {socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), says, holds};
    assert_int_equal(bind(babbler.listener, (struct sockaddr *)&in, len), 0);
    assert_int_equal(listen(babbler.listener, 1), 0);
    assert_int_equal(getsockname(babbler.listener, (struct sockaddr *)&in, &len), 0);
    assert_int_equal(pthread_create(&thread, NULL, babbler_main, &babbler), 0);
    /* The address a server listens on may be asked as it is. */
    (void)snprintf(address, sizeof(address), "%s:%d", holds ? "127.0.0.1" : "",
                   ntohs(in.sin_port));
    enum fr_err err = cli_http(address, "GET", "/x", fr_view_make(NULL, 0), timeout_us, out_status,
                               out, why, 256);
    pthread_join(thread, NULL);
    close(babbler.listener);
    return err;
}

static void
test_any_answer(void **state)
{
    static const struct {
        const char *says;
        enum fr_err err;
        int status;
        const char *body;
    } rows[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", FR_OK, 200, "abc"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", FR_ERR_CLOSED, 0, NULL},
        {"HTTP/1.1 200 OK\r\n\r\nto the end", FR_OK, 200, "to the end"},
        {"HTTP/1.0 200 OK\r\n\r\n", FR_OK, 200, ""},
        {"HTTP/1.1 204 No Content\r\n\r\n", FR_OK, 204, ""},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
         FR_OK, 200, "abc"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n", FR_ERR_CLOSED, 0,
         NULL},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", FR_ERR_BAD_PEER, 0, NULL},
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
         "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
         FR_OK, 200, "a"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n0123456789012345678901234567890123456789"
         "0123456789012345678901234567890123456789012345678901234567890",
         FR_ERR_FULL, 0, NULL},
        {"", FR_ERR_CLOSED, 0, NULL},
        {"HTTP/1.1 20", FR_ERR_CLOSED, 0, NULL},
        {"SSH-2.0-OpenSSH\r\n\r\n", FR_ERR_BAD_PEER, 0, NULL},
    };
    struct fr_buf out;
    char why[256];
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int status = 0;
        fr_buf_init(&out, 100);
        why[0] = '\0';
        enum fr_err err = ask_babbler(rows[i].says, false, TIMEOUT_US, &status, &out, why);
        if (err != rows[i].err)
            fail_msg("row %zu: %s, %s", i, fr_err_name(err), why);
        assert_int_equal(status, rows[i].status);
        assert_int_equal(err != FR_OK, why[0] != '\0');
        if (rows[i].body) {
            assert_int_equal(out.len, strlen(rows[i].body));
            assert_memory_equal(out.len ? out.data : "", rows[i].body, out.len);
        }
        fr_buf_fini(&out);
    }
}

static void
test_timeout(void **state)
{
    struct fr_buf out;
    char why[256];
    int status = 0;
    (void)state;
    fr_buf_init(&out, 100);
    assert_int_equal(ask_babbler("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", true, 50000,
                                 &status, &out, why),
                     FR_ERR_TIMEOUT);
    assert_non_null(strstr(why, "in time"));
    fr_buf_fini(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_admin_server),
        cmocka_unit_test(test_bad_requests),
        cmocka_unit_test(test_any_answer),
        cmocka_unit_test(test_timeout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
