/* The READY subchannels of a picker: what most pickers begin with. One hold keeps them all valid. */
#ifndef EVENER_LB_POLICY_READY_LIST_H
#define EVENER_LB_POLICY_READY_LIST_H

#include <string.h>

#include <evener/base_policy.h>

/* Draws of a pick that avoids tried backends, before it takes the next one in the list. */
#define EVENER_UNTRIED_DRAWS 16

/* Copy the list, and return the hold of its subchannels, to be given back by evener_base_hold_unref(). */
static inline evener_base_hold *evener_ready_list_take(evener_subchannel **list, const evener_base_ready *ready)
{
    memcpy(list, ready->subchannels, ready->count * sizeof *list);
    return evener_base_hold_ref(ready->hold);
}

#endif
