/* The choice of p2c_ewma: which of the backends a pick takes (p2c_choice.c), and the picker it works on.
 *
 * A pick draws two distinct backends in proportion to their weights, and compares their costs (p2c_load.h). Costs
 * within an eighth of each other, or within the noise of the latencies, are alike: then the backend drawn first is
 * taken. So equal backends get shares in proportion to their weights, and no herd follows the luckiest average. Where
 * even the cheaper one costs markedly more than this lane's recent picks, more are drawn, up to `maxChoices` (or all,
 * if there are fewer): two choices alone send one call in six to one of two slow backends of four.
 *
 * The probe. Once in PROBE_PICKS_MIN picks of a lane, a loser that nobody picked for `forcePickInterval` is taken
 * instead of the winner, so that a recovery is noticed; rarely a loser that failed, never one that is failing. A
 * backend that does not answer its calls gets another probe only after pauses that double. go-zero probes without that
 * bound: with more backends than calls per second almost every pick takes the loser. */
#ifndef EVENER_LB_POLICY_P2C_CHOICE_H
#define EVENER_LB_POLICY_P2C_CHOICE_H

#include <stdint.h>

#include "lb/policy/alias_table.h"
#include "lb/policy/p2c_internal.h"

/* What each lane learns from its own picks. */
typedef struct p2c_lane {
    EVENER_LANE_ALIGNED evener_lane_generator random;
    p2c_usual usual;
    float usual_cost; /* 0: nothing picked yet */
    float dear_cost;  /* from this cost on more backends are drawn; 0 until the usual cost is known */
    float usual_in_flight;
    uint32_t picks; /* since the last probe */
} p2c_lane;

typedef struct p2c_picker {
    evener_picker base;
    uint32_t count;
    uint32_t choices, choices_max;
    bool chooses_of_two; /* two choices, and at least two backends */
    float force_pick_ns;
    uint64_t calm_ns;     /* the decay: see p2c_is_calm() */
    uint64_t ramp_end_ns; /* no slow start after this time */
    evener_slow_start slow_start;
    evener_alias *aliases; /* owned; NULL: all weights are equal */
    p2c_lane lanes[EVENER_LANES];
    p2c_stats *backends[];
} p2c_picker;

/* evener_picker_vtable.pick. */
evener_pick_outcome p2c_pick(evener_picker *base, const evener_pick_context *context, evener_pick *pick);

#endif
