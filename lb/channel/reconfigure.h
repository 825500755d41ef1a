/* Reconfigure: change the options of a live channel, invisibly for its holders. */
#ifndef EVENER_LB_CHANNEL_RECONFIGURE_H
#define EVENER_LB_CHANNEL_RECONFIGURE_H

#include <stdbool.h>

#include <evener/channel.h>
#include <evener/status.h>

/* Give `channel` everything that `prepared` was created with: target and resolver options, default service config,
 * authority, credentials and keepalive (when both use the gRPC transport), timeouts, backoff, limits. Both have the
 * same runtime, resolvers and policies. `prepared` was never used; it is used up, and the caller releases it.
 *
 * With `restart_resolver` another resolver is started; the list in force serves until the new one pushes a list. With
 * `reconnect`, or when the authority or its origin differs, every connection is replaced: the old one serves until
 * the new one is READY, and calls on it finish. Nothing else affects a connection or a call. Errors:
 * RESOURCE_EXHAUSTED; then nothing has changed. Control thread. */
evener_status_code evener_channel_reconfigure(evener_channel *channel, evener_channel *prepared, bool restart_resolver,
                                              bool reconnect, evener_status *status);

/* Return whether the channel's authority, set or of its target, is a name that servers can be verified against;
 * otherwise each backend is verified by its own address. Any thread. */
bool evener_channel_target_names_servers(const evener_channel *channel);

#endif
