/* RCU (read-copy-update): the control thread replaces what picks read, and readers take no lock.
 *
 *     reader                                        control thread
 *     evener_rcu_read_lock();                       old = self->picker;
 *     picker = evener_rcu_dereference(self->picker) evener_rcu_assign(self->picker, new);
 *     ... use picker ...                            evener_runtime_reclaim(runtime, &old->reclaim);
 *     evener_rcu_read_unlock();
 *
 * This is liburcu's "bulletproof" flavour: threads need no registration. The build inlines its read side
 * (_LGPL_SOURCE): 1.6 ns instead of 15. */
#ifndef EVENER_LB_RUNTIME_RCU_H
#define EVENER_LB_RUNTIME_RCU_H

#include <stdbool.h>

#include <urcu-bp.h>

/* ThreadSanitizer sees neither liburcu's barriers nor the code inside its library. These annotations state RCU's
 * guarantee: a reader's accesses happen before everything that follows the grace period. */
#if defined(__SANITIZE_THREAD__)
#define EVENER_RCU_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define EVENER_RCU_TSAN 1
#endif
#endif
#ifdef EVENER_RCU_TSAN
#include <sanitizer/tsan_interface.h>
extern char evener_rcu_tsan_tag;
#endif

/* Enter a read-side critical section. May be nested. Do not block or call evener_rcu_synchronize() inside. Any
 * thread. */
static inline void evener_rcu_read_lock(void)
{
    urcu_bp_read_lock();
}

static inline void evener_rcu_read_unlock(void)
{
#ifdef EVENER_RCU_TSAN
    __tsan_release(&evener_rcu_tsan_tag);
#endif
    urcu_bp_read_unlock();
}

/* Enter a section on the hot path: enter returns the reader's state, so that leave is a single store. Other sections
 * may be nested inside, if they end in the reverse order. */
#ifdef _LGPL_SOURCE
typedef struct evener_rcu_section {
    struct urcu_bp_reader *reader;
    unsigned long outer; /* the reader's counter before: no section, or the enclosing one */
} evener_rcu_section;

static inline evener_rcu_section evener_rcu_enter(void)
{
    if (__builtin_expect(URCU_TLS(urcu_bp_reader) == NULL, 0)) {
        urcu_bp_register();
    }
    struct urcu_bp_reader *reader = URCU_TLS(urcu_bp_reader);
    const unsigned long outer = CMM_LOAD_SHARED(reader->ctr);
    const bool outermost = (outer & URCU_BP_GP_CTR_NEST_MASK) == 0;
    CMM_STORE_SHARED(reader->ctr,
                     __builtin_expect(outermost, 1) ? CMM_LOAD_SHARED(urcu_bp_gp.ctr) : outer + URCU_BP_GP_COUNT);
    urcu_bp_smp_mb_slave(); /* orders the section's reads after the store */
    return (evener_rcu_section){reader, outer};
}

static inline void evener_rcu_leave(evener_rcu_section section)
{
#ifdef EVENER_RCU_TSAN
    __tsan_release(&evener_rcu_tsan_tag);
#endif
    /* Release is enough: the section's reads happen before this store. */
    __atomic_store_n(&section.reader->ctr, section.outer, __ATOMIC_RELEASE);
}

/* The fastest variant, for an outermost section only: no registration, no saved counter, no memory barrier. */
typedef struct urcu_bp_reader evener_rcu_reader;

/* Return whether that variant may be used: not on a kernel without membarrier. Constant for the life of the process. */
static inline bool evener_rcu_may_enter_outermost(void)
{
    return urcu_bp_has_sys_membarrier != 0;
}

/* Enter an outermost section. Return NULL, without entering, if the thread is inside a section or was never in one. */
static inline evener_rcu_reader *evener_rcu_enter_outermost(void)
{
    evener_rcu_reader *reader = URCU_TLS(urcu_bp_reader);
    if (__builtin_expect(reader == NULL || (CMM_LOAD_SHARED(reader->ctr) & URCU_BP_GP_CTR_NEST_MASK) != 0, 0)) {
        return NULL;
    }
    CMM_STORE_SHARED(reader->ctr, CMM_LOAD_SHARED(urcu_bp_gp.ctr));
    cmm_barrier(); /* compiler barrier only; synchronize's membarrier orders the processor */
    return reader;
}

static inline void evener_rcu_leave_outermost(evener_rcu_reader *reader)
{
#ifdef EVENER_RCU_TSAN
    __tsan_release(&evener_rcu_tsan_tag);
#endif
    __atomic_store_n(&reader->ctr, 0, __ATOMIC_RELEASE);
}
#else
typedef struct evener_rcu_section {
    char nothing;
} evener_rcu_section;

static inline evener_rcu_section evener_rcu_enter(void)
{
    evener_rcu_read_lock();
    return (evener_rcu_section){0};
}

static inline void evener_rcu_leave(evener_rcu_section section)
{
    (void)section;
    evener_rcu_read_unlock();
}

typedef struct evener_rcu_section evener_rcu_reader;

static inline bool evener_rcu_may_enter_outermost(void)
{
    return true;
}

static inline evener_rcu_reader *evener_rcu_enter_outermost(void)
{
    static evener_rcu_reader any;
    evener_rcu_read_lock();
    return &any;
}

static inline void evener_rcu_leave_outermost(evener_rcu_reader *reader)
{
    (void)reader;
    evener_rcu_read_unlock();
}
#endif

/* Wait until every reader that is inside a section now has left it. Not inside a read-side section, never on the
 * data plane. */
static inline void evener_rcu_synchronize(void)
{
    urcu_bp_synchronize_rcu();
#ifdef EVENER_RCU_TSAN
    __tsan_acquire(&evener_rcu_tsan_tag);
#endif
}

/* Take liburcu's locks over each fork() (rcu_fork.c). Called once, by a constructor of a file that every program uses: of
 * a static library only those files are linked that something refers to. */
void evener_rcu_follow_forks(void);

/* Publish a pointer: a reader that loads it sees all earlier writes to the new object (release, pairs with
 * evener_rcu_dereference()). */
#define evener_rcu_assign(pointer, value) __atomic_store_n(&(pointer), (value), __ATOMIC_RELEASE)

/* Read a published pointer, inside a read-side section or on the publishing thread. Acquire instead of consume: on
 * x86 both are a plain load. */
#define evener_rcu_dereference(pointer) __atomic_load_n(&(pointer), __ATOMIC_ACQUIRE)

#endif
