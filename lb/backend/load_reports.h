/* Out-of-band load reports (A51, custom backend metrics): one stream
 * /xds.service.orca.v3.OpenRcaService/StreamCoreMetrics per backend that a policy watches, on any transport that
 * carries calls. Control thread. */
#ifndef EVENER_LB_BACKEND_LOAD_REPORTS_H
#define EVENER_LB_BACKEND_LOAD_REPORTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lb/backend/subchannel_pool.h"

typedef struct evener_load_reports evener_load_reports;

/* Create the load reports of one backend, without watchers. `address` outlives them. `connection` is the one in
 * service, or NULL. NULL: out of memory. */
evener_load_reports *evener_load_reports_create(evener_subchannel_pool *pool, const evener_address *address,
                                                evener_connection *connection);

/* Cancel the stream and free the rest. NULL is allowed. */
void evener_load_reports_destroy(evener_load_reports *reports);

/* Add the watch of a subchannel, or replace it. Return false on out of memory: then its old watch, if any, stays. */
bool evener_load_reports_watch(evener_load_reports *reports, evener_subchannel_body *subchannel, uint64_t interval_ms,
                               void (*load_reported)(void *arg, evener_subchannel *subchannel, const void *report,
                                                     size_t report_bytes),
                               void *arg);

/* Remove the watch of a subchannel, if it has one. With the last one the stream ends. */
void evener_load_reports_unwatch(evener_load_reports *reports, const evener_subchannel_body *subchannel);

/* Go on over another connection; NULL: there is none now. */
void evener_load_reports_move(evener_load_reports *reports, evener_connection *connection);

#endif
