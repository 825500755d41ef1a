/* The READY subchannels of a picker, with a reference each; what most pickers begin with. */
#ifndef EVENER_LB_POLICY_READY_LIST_H
#define EVENER_LB_POLICY_READY_LIST_H

#include <stdlib.h>

#include <evener/base_policy.h>

static inline void evener_ready_list_ref(evener_subchannel **list, const evener_base_ready *ready)
{
    for (size_t i = 0; i < ready->count; i++) {
        list[i] = evener_subchannel_ref(ready->subchannels[i]);
    }
}

static inline void evener_ready_list_unref(evener_subchannel *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        evener_subchannel_unref(list[i]);
    }
}

#endif
