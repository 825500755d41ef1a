/* What evener offers only together with the gRPC C core: the library libevener-grpc, linked beside libevener
 * (pkg-config `evener-grpc`, CMake component `grpc`).
 *
 *     #include <evener/grpc.h>
 *     #include <grpc/grpc_security.h>
 *     ...
 *     grpc_channel_credentials *core = grpc_google_default_credentials_create(NULL);
 *     evener_credentials_from_grpc(core, &credentials, &status);
 *
 * Linking it registers the transport "grpc", which is then the default of the process. A program without it uses the
 * transport "http2", unless it asks for "grpc" by name: then libevener loads libevener-grpc.so.1 itself
 * (evener_channel_options.transport_name). Arguments of the core's channels go into evener_channel_options.grpc_args.
 *
 * This header needs no header of the core. */
#ifndef EVENER_GRPC_H
#define EVENER_GRPC_H

#include <stdbool.h>
#include <stdint.h>

#include <evener/call.h>
#include <evener/channel.h>
#include <evener/credentials.h>
#include <evener/transport.h>

struct grpc_call;
struct grpc_channel_credentials;
struct grpc_completion_queue;

EVENER_BEGIN_DECLS

/* The transport "grpc". It registers itself when the library is loaded; programs need it only to link the static
 * library (`-u evener_grpc_transport_factory`, which pkg-config and CMake add). */
EVENER_API extern const evener_transport_factory evener_grpc_transport_factory;

/* ---- credentials of the core ---- */

/* Create credentials from any of the gRPC C core (ALTS, composite, xDS...), for the transport "grpc"; channels with
 * another transport refuse them with FAILED_PRECONDITION. Takes over the caller's reference on success. They count as
 * credentials that verify servers by name, as the core does not say. Errors: INVALID_ARGUMENT (NULL). Any thread. */
EVENER_API evener_status_code evener_credentials_from_grpc(struct grpc_channel_credentials *core,
                                                           evener_credentials **credentials, evener_status *status);

/* ---- threads of asynchronous calls ---- */

/* Set how many threads serve the runtime's asynchronous calls over the transport "grpc". They start with the first call
 * and end with the runtime. `count` 0: the default, one for each processor, at most 4. Errors: INVALID_ARGUMENT (more
 * than EVENER_CALL_THREADS_MAX), FAILED_PRECONDITION (they run already). Any thread that may wait for the control
 * thread. */
#define EVENER_CALL_THREADS_MAX 64
EVENER_API evener_status_code evener_runtime_set_call_threads(evener_runtime *runtime, uint32_t count,
                                                              evener_status *status);

/* ---- calls of the core on the program's own completion queue ---- */

/* Pick, waiting as evener_channel_pick() does, and create a call of the core on the backend picked, on the program's
 * own queue: the program starts its batches (metadata of `options` is for the pick only), and when it is over, ends the
 * pick with evener_call_done(). On OK store the call, owned by the caller (grpc_call_unref()), and fill *pick.
 * Errors as evener_unary_call(), and FAILED_PRECONDITION (the channel's transport is not "grpc"). Any thread. */
EVENER_API evener_status_code evener_channel_create_call(evener_channel *channel, struct grpc_completion_queue *queue,
                                                         const char *method, const evener_call_options *options,
                                                         evener_pick *pick, struct grpc_call **call,
                                                         evener_status *status);

/* Create the call on a pick made before, by evener_channel_try_pick() or evener_channel_pick_async(). On failure
 * the pick is still the caller's to end. Errors: INVALID_ARGUMENT, FAILED_PRECONDITION. Any thread. */
EVENER_API evener_status_code evener_pick_create_call(evener_channel *channel, evener_pick *pick,
                                                      struct grpc_completion_queue *queue, const char *method,
                                                      const evener_call_options *options, struct grpc_call **call,
                                                      evener_status *status);

/* End the pick of such a call after its status has been received and before its last grpc_call_unref(). `info` has the
 * status, the load report if any, and `error_string` and `answered`; the function derives `not_sent` from the last two.
 * Return whether the call certainly was not sent: it can then be created again without harm. Without `error_string`
 * nothing is certain, and this returns false. Any thread. */
EVENER_API bool evener_call_done(evener_channel *channel, evener_pick *pick, struct grpc_call *call,
                                 const evener_done_info *info);

EVENER_END_DECLS

#endif
