/* liburcu's part of a fork(): its locks are taken before, and in the child it forgets the readers that are gone, for
 * which a grace period would wait for ever.
 *
 * liburcu-bp is one per process, its locks are not recursive, and urcu_bp_before_fork() does not say whether this
 * thread called it already. So exactly one party may call it per fork:
 *
 *     several copies of evener    the first one to be called leaves a mark on the forking thread, the others see it
 *     the program itself          it says so with evener_fork_leave_rcu()
 *
 * The mark is a number of nested read-side sections that no program reaches, in the thread's record of liburcu: that
 * record is shared by all copies, whatever their symbols' visibility. It is set only while no grace period can run. */
#ifndef _LGPL_SOURCE /* not with sanitizers */
#define _LGPL_SOURCE /* the record is declared for the inlined read side only */
#endif
#include <stdbool.h>
#include <stddef.h>

#include <urcu-bp.h>

#include <evener/fork.h>

#include "lb/base/fork.h"
#include "lb/runtime/rcu.h"

#define MARK ((URCU_BP_GP_CTR_NEST_MASK + 1) / 4)

static bool is_left;       /* atomic: to the program */
static bool called_before; /* by this copy for the fork in progress; under the lock of all hooks */

/* Nested counts of this thread. liburcu's records are aligned less than their type asks for. */
static unsigned long *own_count(void)
{
    if (URCU_TLS(urcu_bp_reader) == NULL) {
        urcu_bp_register();
    }
    return (unsigned long *)(void *)URCU_TLS(urcu_bp_reader);
}

_Static_assert(offsetof(struct urcu_bp_reader, ctr) == 0, "the counter begins the record");

static void before(void)
{
    if (__atomic_load_n(&is_left, __ATOMIC_RELAXED)) {
        return; /* first of all: the program may hold the lock that own_count() takes in a thread without a record */
    }
    unsigned long *count = own_count();
    if ((*count & MARK) != 0) {
        return;
    }
    urcu_bp_before_fork();
    __atomic_store_n(count, *count | MARK, __ATOMIC_RELAXED);
    called_before = true;
}

static bool take_mark(void)
{
    if (!called_before) {
        return false;
    }
    unsigned long *count = own_count();
    __atomic_store_n(count, *count & ~MARK, __ATOMIC_RELAXED);
    called_before = false;
    return true;
}

static void in_parent(void)
{
    if (take_mark()) {
        urcu_bp_after_fork_parent();
    }
}

static void in_child(void)
{
    if (take_mark()) {
        urcu_bp_after_fork_child();
    }
}

void evener_fork_leave_rcu(bool leave)
{
    __atomic_store_n(&is_left, leave, __ATOMIC_RELAXED);
}

void evener_rcu_follow_forks(void)
{
    static evener_fork_hook hook = {
        .level = EVENER_FORK_RCU, .before = before, .in_parent = in_parent, .in_child = in_child};
    evener_fork_add_hook(&hook);
}
