/* Avoided: an entry of evener_pick_args.tried that stands for all backends with some property, instead of one address.
 * The channel adds one, so that every picker that avoids tried backends also avoids full ones. */
#ifndef EVENER_LB_POLICY_AVOIDED_H
#define EVENER_LB_POLICY_AVOIDED_H

#include <stdbool.h>

#include <evener/picker.h>

/* No address begins with this byte. */
#define EVENER_AVOIDED_MARK '\1'

typedef struct evener_avoided {
    char text[8]; /* begins with the mark; the entry points here */
    /* Return whether the backend is to be avoided. Any thread, inside a pick. */
    bool (*applies)(const struct evener_avoided *avoided, const evener_subchannel *subchannel);
} evener_avoided;

#endif
