/* Graceful switch: holds a channel's policy and replaces it without a gap.
 *
 * An update that names the policy in force goes to it. One that names another makes a second policy beside the first;
 * it takes over when it is not CONNECTING any more, or at once if the first is not READY (core: graceful switch; A24).
 * Control thread. */
#ifndef EVENER_LB_POLICY_GRACEFUL_SWITCH_H
#define EVENER_LB_POLICY_GRACEFUL_SWITCH_H

#include <evener/policy.h>
#include <evener/status.h>

#include "lb/channel/service_config.h"

typedef struct evener_graceful_switch evener_graceful_switch;

/* `helper` is what the policies' doings are handed on to; it must outlive the switch. NULL without memory. */
evener_graceful_switch *evener_graceful_switch_create(evener_policy_helper *helper);

/* Closes both policies and frees the switch. Not from inside a policy's call. */
void evener_graceful_switch_destroy(evener_graceful_switch *gs);

/* Hands `update` to the policy of `builder`, with the configuration of `source` (which is kept as long as the policy
 * needs it) or, when that is NULL, none; `update->config` is not read. */
evener_status_code evener_graceful_switch_update(evener_graceful_switch *gs, const evener_policy_builder *builder,
                                                 evener_service_config *source, const evener_policy_update *update,
                                                 evener_status *status);

/* To the newest policy; nothing without one. */
void evener_graceful_switch_resolver_error(evener_graceful_switch *gs, const evener_status *status);
void evener_graceful_switch_exit_idle(evener_graceful_switch *gs);

/* Name of the policy in force, or "". */
const char *evener_graceful_switch_policy_name(const evener_graceful_switch *gs);

/* What the subchannels of the policy in force have as `owner`. */
const void *evener_graceful_switch_owner(const evener_graceful_switch *gs);

/* What the policy in force knows of one of its subchannels. */
void evener_graceful_switch_describe(evener_graceful_switch *gs, evener_subchannel *subchannel, char *buffer,
                                     size_t buffer_bytes);

#endif
