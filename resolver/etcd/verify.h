/* Verify: is the state of etcd at a revision still the one that is known?
 *
 * Neither cluster id nor revision distinguish a cluster that was made anew at the same place from the old one: the id
 * is derived from the members' names, and the revision may have reached the old one again. So after an outage the
 * number of keys at the known revision, and the key that was changed last before it, are compared. Control thread. */
#ifndef EVENER_RESOLVER_ETCD_VERIFY_H
#define EVENER_RESOLVER_ETCD_VERIFY_H

#include "resolver/etcd/client.h"
#include "resolver/etcd/endpoints.h"

typedef struct evener_etcd_verification evener_etcd_verification;

/* Compare etcd at `revision` with the list, which is only read inside this call. `ended` comes once, never inside: OK:
 * it is the same; OUT_OF_RANGE: it is not, or cannot be known; otherwise the request failed. Return a handle for
 * stop(); NULL: no memory. */
evener_etcd_verification *evener_etcd_verify(evener_etcd_client *client, const evener_etcd_layout *layout,
                                             const evener_etcd_entries *list, int64_t revision,
                                             void (*ended)(void *arg, const evener_status *status), void *arg);
/* `ended` does not come any more. NULL is allowed. Not after `ended`. */
void evener_etcd_verify_stop(evener_etcd_verification *verification);

#endif
