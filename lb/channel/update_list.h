/* Update list: check a resolver's list and copy it as references, without duplicates. */
#ifndef EVENER_LB_CHANNEL_UPDATE_LIST_H
#define EVENER_LB_CHANNEL_UPDATE_LIST_H

#include <evener/resolver.h>

/* Store an owned array of referenced addresses, one per backend, in the order of the update; of duplicates the first
 * stays. `known` is the previous list, without duplicates: it makes small changes cheap. Errors: INVALID_ARGUMENT (a
 * NULL entry or array, too many addresses; the message says where), RESOURCE_EXHAUSTED. */
evener_status_code evener_update_list_copy(const evener_resolver_update *update, evener_address *const *known,
                                           size_t known_count, evener_address ***addresses, size_t *address_count,
                                           evener_status *status);

void evener_update_list_free(evener_address **addresses, size_t address_count);

#endif
