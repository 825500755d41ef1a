/* What a thread finds in errno after it had to wait for a lock of the core's. */
#include <criterion/criterion.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

#include <grpc/support/sync.h>

#include "lb/transport/grpc/core_locks.h"

#ifdef GPR_ABSEIL_SYNC

static void *wait_for_lock(void *arg)
{
    gpr_mu *mutex = arg;
    static int left;
    errno = EINPROGRESS; /* as connect() does */
    gpr_mu_lock(mutex);
    left = errno;
    gpr_mu_unlock(mutex);
    return &left;
}

static int errno_after_waiting(void)
{
    gpr_mu mutex;
    gpr_mu_init(&mutex);
    gpr_mu_lock(&mutex);
    const gpr_mu held = atomic_load((_Atomic gpr_mu *)&mutex);
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, wait_for_lock, &mutex), 0);
    while (atomic_load((_Atomic gpr_mu *)&mutex) == held) {
        sched_yield();
    }
    gpr_mu_unlock(&mutex);
    void *left;
    cr_assert_eq(pthread_join(thread, &left), 0);
    gpr_mu_destroy(&mutex);
    return *(int *)left;
}

/* Where the files that Abseil looks for exist, it leaves none with or without settling. */
Test(core_locks, a_lock_that_is_waited_for_leaves_no_enoent, .timeout = 120)
{
    evener_grpc_settle_locks();
    evener_grpc_settle_locks();
    const int left = errno_after_waiting();
    /* The core takes the two for a connection in progress; a futex whose value has changed leaves EAGAIN. */
    cr_expect(left == EINPROGRESS || left == EAGAIN, "errno %d", left);
}

static void *settle_and_end(void *arg)
{
    bool *has_returned = arg;
    (void)pthread_cancel(pthread_self()); /* acts at the next cancellation point */
    evener_grpc_settle_locks();
    *has_returned = true;
#ifdef __SANITIZE_ADDRESS__
    __asan_handle_no_return(); /* gcc 12's AddressSanitizer does not unpoison the stack that a cancelled thread leaves */
#endif
    pthread_testcancel();
    return NULL;
}

Test(core_locks, a_thread_that_is_cancelled_settles_them_first, .timeout = 120)
{
    pthread_t thread;
    bool has_returned = false;
    void *result = NULL;
    cr_assert_eq(pthread_create(&thread, NULL, settle_and_end, &has_returned), 0);
    cr_assert_eq(pthread_join(thread, &result), 0);
    cr_expect_eq(result, PTHREAD_CANCELED);
    cr_expect(has_returned);
}

#else

Test(core_locks, a_lock_that_is_waited_for_leaves_no_enoent)
{
    cr_skip_test("the core does not use Abseil's locks");
}

#endif
