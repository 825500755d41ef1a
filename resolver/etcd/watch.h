/* Watch: the changes of a prefix from a revision on. One object per watch. Control thread. */
#ifndef EVENER_RESOLVER_ETCD_WATCH_H
#define EVENER_RESOLVER_ETCD_WATCH_H

#include "resolver/etcd/client.h"
#include "resolver/etcd/endpoints.h"

typedef struct evener_etcd_watch evener_etcd_watch;

typedef struct evener_etcd_watch_events {
    /* The watch is in force. */
    void (*created)(void *arg, const evener_etcd_header *header);
    /* Sorted changes, to be applied and emptied, complete up to `revision`. No changes: only the revision is new. */
    void (*changed)(void *arg, evener_etcd_entries *changes, int64_t revision);
    /* The watch cannot go on from where it was: everything has to be listed anew. Last. */
    void (*lost)(void *arg, const evener_status *status);
    /* The watch has ended, and may go on at another member. Last. */
    void (*ended)(void *arg, const evener_status *status);
} evener_etcd_watch_events;

/* Watch the prefix of the layout. On success store a handle. None of the events comes inside this call. Errors: as
 * evener_stream_start(). */
evener_status_code evener_etcd_watch_start(evener_etcd_client *client, evener_etcd_shared_options *shared,
                                           int64_t start_revision, const evener_etcd_watch_events *events, void *arg,
                                           evener_etcd_watch **watch, evener_status *status);
/* Stop: no event comes any more. Also after `lost` and `ended`, from inside them too. NULL is allowed. */
void evener_etcd_watch_stop(evener_etcd_watch *watch);

/* Return the member; "" if there is none yet. */
const char *evener_etcd_watch_peer(const evener_etcd_watch *watch);

/* Parse a message and read its changes into `changes`, as a watch does. False: malformed, or no memory. */
bool evener_etcd_watch_decode(const evener_etcd_layout *layout, const evener_bytes *message,
                              evener_etcd_watch_response *response, evener_etcd_entries *changes,
                              int64_t *last_revision);

#endif
