/* Interceptors of one call: the chain of the channel's and the call's, their states, and what they have added. */
#ifndef EVENER_LB_CALL_INTERCEPTORS_H
#define EVENER_LB_CALL_INTERCEPTORS_H

#include <evener/call.h>
#include <evener/interceptor.h>

#include "lb/call/late_metadata.h"
#include "lb/channel/channel_internal.h"

typedef struct evener_interception evener_interception;

/* Return whether a call has interceptors. */
static inline bool evener_is_intercepted(const evener_channel *channel, const evener_call_options *options)
{
    return __builtin_expect((channel->calls.interceptor_count | options->interceptor_count) != 0, 0);
}

/* Run `start` of all. On OK store the interception, and in *options what the call is to be made with (it points into the
 * interception). Not OK: the call is refused, and `done` of those that had started has run. */
evener_status_code evener_interception_begin(evener_channel *channel, const char *method, bool streaming,
                                             evener_call_options *options, evener_interception **interception,
                                             evener_status *status);

/* Pass an event on. NULL is allowed. */
void evener_interception_headers(evener_interception *interception, const evener_metadata *metadata, size_t count);
void evener_interception_message(evener_interception *interception, bool sent, const evener_bytes *message);

/* Run `done` of all, and free the interception. `details` NULL: none were asked for. NULL is allowed. */
void evener_interception_end(evener_interception *interception, const evener_status *status,
                             const evener_call_details *details);

/* Return what the call has to wait for; NULL: nothing. NULL is allowed. Lives as long as the interception. */
evener_late *evener_interception_late(const evener_interception *interception);

/* Start an asynchronous call without interceptors, with options that were checked, after what comes later (NULL:
 * nothing). Otherwise as evener_call_start(). */
evener_status_code evener_call_start_plainly(evener_channel *channel, const char *method, const evener_bytes *request,
                                             const evener_call_options *options, evener_late *late,
                                             evener_call_callback callback, void *arg, evener_call **call,
                                             evener_status *status);

/* Return whether somebody wants the headers. */
bool evener_interception_wants_headers(const evener_interception *interception);

#endif
