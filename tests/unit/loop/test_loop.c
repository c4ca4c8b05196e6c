/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_loop.c - messages of other threads: all arrive, in each sender's order, and wake a
 * sleeping loop. Clean under -fsanitize=thread.
 */
#include "base/fr_mem.h"
#include "loop/loop.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define SENDERS 4
#define MESSAGES 5000

struct letter {
    struct loop_msg msg;
    struct box *box;
    int sender;
    int number;
};

struct box {
    struct loop *loop;
    int next[SENDERS];
    int total;
    int disorder;
    int stop_at;
};

struct sender {
    struct box *box;
    int index;
    int pause_every;
};

static void
on_letter(void *ctx)
{
    struct letter *letter = ctx;
    struct box *box = letter->box;
    if (letter->number != box->next[letter->sender]++)
        box->disorder++;
    fr_free(letter);
    if (++box->total == box->stop_at)
        loop_stop(box->loop);
}

static void *
sender_main(void *ctx)
{
    struct sender *sender = ctx;
    for (int i = 0; i < MESSAGES; i++) {
        struct letter *letter = fr_xalloc(sizeof(*letter));
        letter->box = sender->box;
        letter->sender = sender->index;
        letter->number = i;
        loop_post(sender->box->loop, &letter->msg, on_letter, letter);
        if (sender->pause_every && i % sender->pause_every == 0)
            usleep(50); /* so that the loop falls asleep in between */
    }
    return NULL;
}

static void
test_many_senders(void **state)
{
    struct box box = {.stop_at = SENDERS * MESSAGES};
    struct sender senders[SENDERS];
    pthread_t threads[SENDERS];
    (void)state;
    assert_int_equal(loop_new(NULL, &box.loop), FR_OK);
    for (int i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){&box, i, i * 7};
        assert_int_equal(pthread_create(&threads[i], NULL, sender_main, &senders[i]), 0);
    }
    assert_int_equal(loop_run(box.loop), FR_OK);
    for (int i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(box.total, SENDERS * MESSAGES);
    assert_int_equal(box.disorder, 0);
    loop_free(&box.loop);
}

/* Two loops on two threads throw one message to and fro: each must be woken every time. */
struct player {
    struct loop *loop;
    struct player *other;
    struct loop_msg *ball;
    int hits;
};

static void
on_stop_player(void *ctx)
{
    struct player *player = ctx;
    loop_stop(player->loop);
}

static void
on_ball(void *ctx)
{
    struct player *player = ctx;
    if (++player->hits < 2000) {
        loop_post(player->other->loop, player->ball, on_ball, player->other);
        return;
    }
    loop_stop(player->loop);
    loop_post(player->other->loop, player->ball, on_stop_player, player->other);
}

static void *
player_main(void *ctx)
{
    struct player *player = ctx;
    return loop_run(player->loop) == FR_OK ? player : NULL;
}

static void
test_two_loops_wake_each_other(void **state)
{
    struct loop_msg ball = {0};
    struct player players[2] = {{.ball = &ball}, {.ball = &ball}};
    pthread_t thread;
    void *result;
    (void)state;
    for (int i = 0; i < 2; i++) {
        players[i].other = &players[1 - i];
        assert_int_equal(loop_new(NULL, &players[i].loop), FR_OK);
    }
    assert_int_equal(pthread_create(&thread, NULL, player_main, &players[0]), 0);
    loop_post(players[0].loop, &ball, on_ball, &players[0]);
    assert_int_equal(loop_run(players[1].loop), FR_OK);
    pthread_join(thread, &result);
    assert_ptr_equal(result, &players[0]);
    assert_true(players[0].hits == 2000 || players[1].hits == 2000);
    loop_free(&players[0].loop);
    loop_free(&players[1].loop);
}

static void
test_post_to_a_stopped_loop(void **state)
{
    struct box box = {.stop_at = -1};
    struct sender sender = {&box, 0, 0};
    (void)state;
    assert_int_equal(loop_new(NULL, &box.loop), FR_OK);
    (void)sender_main(&sender);
    assert_int_equal(box.total, 0);
    loop_drain_posts(box.loop);
    assert_int_equal(box.total, MESSAGES);
    assert_int_equal(box.disorder, 0);
    loop_drain_posts(box.loop);
    assert_int_equal(box.total, MESSAGES);
    loop_free(&box.loop);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_senders),
        cmocka_unit_test(test_two_loops_wake_each_other),
        cmocka_unit_test(test_post_to_a_stopped_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
