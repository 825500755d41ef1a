/* The lists of overdue calls by themselves. */
#include <criterion/criterion.h>

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "lb/transport/grpc/connection.h"
#include "lb/transport/grpc/core_call.h"
#include "lb/transport/grpc/overdue.h"
#include "tests/support/virtual_loop.h"

static evener_grpc_overdue *overdue;
static evener_grpc_core_call *ending; /* its end is being delivered */
static unsigned tries;

static const pthread_mutex_t *long_one; /* of a call that takes long */
static unsigned long_tries;

/* A look tries this lock of a call. */
int pthread_mutex_trylock(pthread_mutex_t *mutex)
{
    if (ending != NULL && mutex == &ending->mutex) {
        tries++;
        evener_grpc_overdue_remove(overdue, ending); /* as the thread that delivers the end */
        return EBUSY;
    }
    long_tries += mutex == long_one;
    int (*next)(pthread_mutex_t *);
    void *found = dlsym(RTLD_NEXT, "pthread_mutex_trylock");
    memcpy(&next, &found, sizeof next);
    return next(mutex);
}

Test(overdue, a_call_that_ends_while_it_is_looked_at_is_not_put_back)
{
    evener_status status;
    virtual_loop *loop = virtual_loop_create(1);
    static evener_connection connection;
    static evener_grpc_core_call call;
    connection.loop = virtual_loop_loop(loop);
    call.connection = &connection;
    call.deadline_ns = 1;
    atomic_init(&call.references, 1);
    pthread_mutex_init(&call.mutex, NULL);
    overdue = evener_grpc_overdue_create(&status);
    cr_assert_not_null(overdue, "%s", status.message);
    evener_grpc_overdue_add(overdue, &call);
    cr_assert_not_null(call.overdue_link);
    virtual_loop_advance_ms(loop, 2 * EVENER_GRPC_CORE_GRACE_MS);
    ending = &call;
    evener_grpc_overdue_look(overdue);
    ending = NULL;
    cr_assert_eq(tries, 1);
    cr_expect_null(call.overdue_link, "its memory may go now");
    cr_expect_eq(atomic_load(&call.references), 1);
    evener_grpc_overdue_destroy(overdue);
    virtual_loop_destroy(loop);
}

/* Calls so far apart are in one list. */
#define APART_BYTES 8192
static _Alignas(APART_BYTES) union {
    evener_grpc_core_call call;
    char apart[APART_BYTES];
} calls[3];
static evener_connection of_calls;
static virtual_loop *time_of_calls;

static void add(evener_grpc_core_call *call, uint64_t deadline_ns)
{
    memset(call, 0, sizeof *call);
    call->connection = &of_calls;
    call->deadline_ns = deadline_ns;
    atomic_init(&call->references, 1);
    pthread_mutex_init(&call->mutex, NULL);
    evener_grpc_overdue_add(overdue, call);
}

static void open_calls(void)
{
    evener_status status;
    time_of_calls = virtual_loop_create(1);
    of_calls.loop = virtual_loop_loop(time_of_calls);
    overdue = evener_grpc_overdue_create(&status);
    cr_assert_not_null(overdue, "%s", status.message);
}

static void close_calls(void)
{
    evener_grpc_overdue_destroy(overdue);
    virtual_loop_destroy(time_of_calls);
}

static bool is_listed(const evener_grpc_core_call *call)
{
    cr_expect_eq(atomic_load(&call->references), 1);
    return call->overdue_link != NULL;
}

Test(overdue, one_that_ends_leaves_the_others_in_the_list)
{
    for (int ends = 0; ends < 3; ends++) {
        open_calls();
        for (int i = 0; i < 3; i++) {
            add(&calls[i].call, 1);
        }
        evener_grpc_overdue_remove(overdue, &calls[ends].call);
        evener_grpc_overdue_remove(overdue, &calls[ends].call); /* twice does nothing */
        for (int i = 0; i < 3; i++) {
            cr_expect_eq(is_listed(&calls[i].call), i != ends);
        }
        virtual_loop_advance_ms(time_of_calls, EVENER_GRPC_CORE_GRACE_MS);
        evener_grpc_overdue_look(overdue);
        for (int i = 0; i < 3; i++) {
            cr_expect_not(is_listed(&calls[i].call), "%d of those without %d was not found", i, ends);
        }
        close_calls();
    }
}

/* Those that stay are found by the next look, which takes what ends meanwhile. */
Test(overdue, is_a_call_whose_grace_is_over)
{
    const uint64_t grace_ns = EVENER_GRPC_CORE_GRACE_MS * EVENER_NS_PER_MS;
    open_calls();
    const uint64_t now_ns = virtual_loop_now_ns(time_of_calls);
    add(&calls[0].call, now_ns + 10);
    add(&calls[1].call, now_ns + 9);
    add(&calls[2].call, UINT64_MAX);
    virtual_loop_advance_ns(time_of_calls, grace_ns + 9);
    evener_grpc_overdue_look(overdue);
    cr_expect(is_listed(&calls[0].call), "a nanosecond is left");
    cr_expect_not(is_listed(&calls[1].call));
    cr_expect(is_listed(&calls[2].call), "without a deadline");
    close_calls();
}

static unsigned tries_after_looks(uint32_t looks, bool is_unary)
{
    open_calls();
    add(&calls[0].call, UINT64_MAX);
    calls[0].call.is_unary = is_unary;
    calls[0].call.looks = looks - 1;
    long_one = &calls[0].call.mutex;
    long_tries = 0;
    evener_grpc_overdue_look(overdue);
    long_one = NULL;
    cr_expect(is_listed(&calls[0].call));
    cr_expect_eq(calls[0].call.looks, is_unary ? looks : looks - 1);
    close_calls();
    return long_tries;
}

Test(overdue, a_unary_call_that_takes_long_is_asked_for_more_every_second)
{
    cr_expect_eq(tries_after_looks(19, true), 0);
    cr_expect_eq(tries_after_looks(20, true), 1);
    cr_expect_eq(tries_after_looks(21, true), 0);
    cr_expect_eq(tries_after_looks(40, true), 1);
    cr_expect_eq(tries_after_looks(20, false), 0);
}
