/* Changing what a live channel was opened with, so that its holders need not know. */
#ifndef EVENER_LB_CHANNEL_RECONFIGURE_H
#define EVENER_LB_CHANNEL_RECONFIGURE_H

#include <stdbool.h>

#include <evener/channel.h>
#include <evener/status.h>

/* Gives `channel` everything that `prepared` was opened with: target and resolver options, default service config,
 * authority, credentials and keepalive (when both are of the gRPC transport), timeouts, backoff, limits. Both were made
 * with the same runtime, resolvers and policies. `prepared` must be fresh; it is used up, to be given back by the
 * caller.
 *
 * With `restart_resolver` another resolver is started, and the list in force serves until it has an answer. With
 * `reconnect`, or when the authority (or where it comes from) differs, every connection is replaced: the old one serves until the new one
 * does, and calls on it finish. Nothing else disturbs a connection or a call.
 * Errors: RESOURCE_EXHAUSTED; then nothing has changed. Control thread. */
evener_status_code evener_channel_reconfigure(evener_channel *channel, evener_channel *prepared, bool restart_resolver,
                                              bool reconnect, evener_status *status);

/* Whether the channel's authority, set or of its target, is a name that servers can be verified against; else each
 * backend is verified by itself. Any thread. */
bool evener_channel_target_names_servers(const evener_channel *channel);

#endif
