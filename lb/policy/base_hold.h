/* Base hold: keeps the subchannels of a picker valid with one reference instead of one per backend.
 *
 * Each picker of a base policy has a hold (evener_base_ready.hold). A subchannel that the policy releases stays in
 * memory while a hold exists that was made before: its picker may give the subchannel out. So publishing a picker costs
 * no visit to the memory of each backend, which for 1,000,000 backends took 10 ms, and as much again for the picker
 * that it replaced.
 *
 *     holds, oldest first        what left
 *     1                          a, b     released after 1 was made and before 2 was
 *     2                          c        likewise before 3 was
 *     3 (newest)
 *
 * What left after a hold was made is in no younger one. So when hold 2 ends, c is handed to hold 1, as 1 may have it,
 * too; when the oldest one ends, what left after it has no user. Control thread. */
#ifndef EVENER_LB_POLICY_BASE_HOLD_H
#define EVENER_LB_POLICY_BASE_HOLD_H

#include <evener/base_policy.h>

/* A subchannel that the policy released, in memory of the subchannel's own (its data). */
typedef struct evener_base_left {
    evener_subchannel *subchannel; /* a reference */
    struct evener_base_left *next;
} evener_base_left;

/* The holds of one policy; zeroed at first. Must exist until evener_base_holds_detach(). */
typedef struct evener_base_holds {
    evener_base_hold *newest; /* or NULL */
    uint64_t made;            /* holds in total: the number of the last one */
} evener_base_holds;

/* Make a hold with one reference. NULL on out of memory. */
evener_base_hold *evener_base_hold_create(evener_base_holds *holds);

/* Release a subchannel: its memory stays until no hold up to the number `last`, the last one that may have it, needs it.
 * `left` lies in its data. */
void evener_base_hold_release(const evener_base_holds *holds, uint64_t last, evener_base_left *left,
                              evener_subchannel *subchannel);

/* The policy ends; the holds end with their pickers. */
void evener_base_holds_detach(evener_base_holds *holds);

#endif
