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

/* A look tries this lock of a call. */
int pthread_mutex_trylock(pthread_mutex_t *mutex)
{
    if (ending != NULL && mutex == &ending->mutex) {
        tries++;
        evener_grpc_overdue_remove(overdue, ending); /* as the thread that delivers the end */
        return EBUSY;
    }
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
