/* RCU: how the control thread changes what every pick reads, without a lock on the reader's side.
 *
 *     reader                                        control thread
 *     evener_rcu_read_lock();                       old = self->picker;
 *     picker = evener_rcu_dereference(self->picker) evener_rcu_assign(self->picker, new);
 *     ... use picker ...                            evener_runtime_reclaim(runtime, &old->reclaim);
 *     evener_rcu_read_unlock();
 *
 * It is liburcu's "bulletproof" flavour: threads need no registration. The build inlines its read side (_LGPL_SOURCE):
 * 1.6 ns instead of 15. */
#ifndef EVENER_LB_RUNTIME_RCU_H
#define EVENER_LB_RUNTIME_RCU_H

#include <stdbool.h>

#include <urcu-bp.h>

/* ThreadSanitizer sees neither liburcu's barriers nor its library's code. What RCU promises is told to it here: whatever
 * a reader did before it left happened before whatever follows a grace period. */
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

/* May be nested. In between: no waiting, no evener_rcu_synchronize(). Any thread. */
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

/* The same for the hot path, where a nanosecond counts: what entering found is kept, so that leaving is one store. Between
 * the two other sections may be entered and left, as long as they end in the reverse order. */
#ifdef _LGPL_SOURCE
typedef struct evener_rcu_section {
    struct urcu_bp_reader *reader;
    unsigned long outer; /* the reader's word before: no section, or the enclosing one */
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
    urcu_bp_smp_mb_slave(); /* the section's reads come after */
    return (evener_rcu_section){reader, outer};
}

static inline void evener_rcu_leave(evener_rcu_section section)
{
#ifdef EVENER_RCU_TSAN
    __tsan_release(&evener_rcu_tsan_tag);
#endif
    /* Release is all that the end asks for: what was read inside came before. */
    __atomic_store_n(&section.reader->ctr, section.outer, __ATOMIC_RELEASE);
}

/* The shortest way, for a section that is no other's inside: no thread to register, no word to keep, no barrier. */
typedef struct urcu_bp_reader evener_rcu_reader;

/* Whether that way may be asked for: not on a kernel without membarrier. The same for as long as the process lives. */
static inline bool evener_rcu_may_enter_outermost(void)
{
    return urcu_bp_has_sys_membarrier != 0;
}

/* NULL, and not inside, if the thread is in a section already or was never in one. */
static inline evener_rcu_reader *evener_rcu_enter_outermost(void)
{
    evener_rcu_reader *reader = URCU_TLS(urcu_bp_reader);
    if (__builtin_expect(reader == NULL || (CMM_LOAD_SHARED(reader->ctr) & URCU_BP_GP_CTR_NEST_MASK) != 0, 0)) {
        return NULL;
    }
    CMM_STORE_SHARED(reader->ctr, CMM_LOAD_SHARED(urcu_bp_gp.ctr));
    cmm_barrier(); /* the section's reads come after; the control thread's membarrier does the processor's part */
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

/* Waits until every reader that is inside now has left. Not inside a read lock; for the data plane never. */
static inline void evener_rcu_synchronize(void)
{
    urcu_bp_synchronize_rcu();
#ifdef EVENER_RCU_TSAN
    __tsan_acquire(&evener_rcu_tsan_tag);
#endif
}

/* Publishes: what was written to the new object before is seen by whoever finds it through the pointer (release, pairs
 * with evener_rcu_dereference()). */
#define evener_rcu_assign(pointer, value) __atomic_store_n(&(pointer), (value), __ATOMIC_RELEASE)

/* Reads a published pointer, inside a read lock or on the thread that publishes. Acquire where consume would do: on
 * x86 both are a plain load. */
#define evener_rcu_dereference(pointer) __atomic_load_n(&(pointer), __ATOMIC_ACQUIRE)

#endif
