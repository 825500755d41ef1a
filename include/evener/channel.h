/* Channel: target + resolver + policy + subchannels; what an application holds.
 *
 *     evener_credentials *insecure;
 *     evener_credentials_create_insecure(&insecure, NULL);
 *     evener_channel_options options = {.size = sizeof options, .credentials = insecure,
 *                                       .default_service_config = "{\"loadBalancingPolicy\":\"round_robin\"}"};
 *     evener_channel *channel;
 *     evener_status status;
 *     if (evener_channel_create("dns:///orders.prod:50051", &options, &channel, &status) != EVENER_STATUS_OK) ...
 *     ... calls (evener/call.h), or picks (below) for any other protocol ...
 *     evener_channel_unref(channel);
 *
 * A channel is IDLE until the first call or evener_channel_connect(): nothing is resolved or connected before. */
#ifndef EVENER_CHANNEL_H
#define EVENER_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/connectivity.h>
#include <evener/credentials.h>
#include <evener/picker.h>
#include <evener/policy.h>
#include <evener/resolver.h>
#include <evener/runtime.h>
#include <evener/status.h>
#include <evener/transport.h>

EVENER_BEGIN_DECLS

typedef struct evener_channel evener_channel;

/* What an empty list from the resolver means while addresses are known. */
typedef enum evener_empty_update {
    EVENER_EMPTY_UPDATE_DEFAULT = 0, /* EVENER_EMPTY_UPDATE_KEEP: wrong empty answers have been outages (grpc-go 8398,
                                        go-zero 4941), and a really empty service fails its calls by itself */
    EVENER_EMPTY_UPDATE_FAIL = 1,    /* calls fail at once, as in gRPC */
    EVENER_EMPTY_UPDATE_KEEP = 2     /* the last list serves on, for at most empty_update_keep_ms */
} evener_empty_update;

#define EVENER_NEVER_MS UINT64_MAX

/* Everything zero is the documented default. Borrowed for the call: what is needed is copied, but for what says
 * otherwise. */
typedef struct evener_channel_options {
    size_t size;                           /* sizeof(evener_channel_options) */
    evener_runtime *runtime;               /* NULL: the process-wide default */
    const evener_credentials *credentials; /* for the gRPC transport; must be named */
    evener_transport *transport;           /* NULL: the gRPC C core with `credentials`. Else owned by the caller (its
                                                `destroy` is not called) and outliving the channel */
    const void *grpc_args;                 /* a `const grpc_channel_args *`: further arguments for the core's channels;
                                                or NULL */

    /* The channel's own: win over the registry. The array is copied. The builders outlive the channel, unless they are
     * counted (evener_resolver_builder.ref, as those of manual resolvers are): then it holds references. */
    const evener_resolver_builder *const *resolvers;
    size_t resolver_count;
    const evener_policy_builder *const *policies; /* likewise, never counted */
    size_t policy_count;
    const evener_attribute *resolver_options; /* "dns.min_refresh_ms" = "1000": see docs/resolvers.md */
    size_t resolver_option_count;

    const char *policy;                 /* the policy when no service config names one; NULL: "pick_first" */
    const char *default_service_config; /* JSON, while the resolver gives none; NULL: none. A bad one fails create */
    bool ignore_service_config;         /* do not use the resolver's */

    const char *authority; /* :authority, and the name that TLS verifies, of every backend, whatever its attributes say;
                               not "". NULL: the backend's attribute "authority", else the target's host; for a target
                               that names no host TLS verifies each backend's own IP address, and sockets in the file
                               system, which have none, are refused (docs/resolvers.md) */
    const char *user_agent; /* put before the core's own; NULL: "evener/VERSION" */
    uint32_t default_port;  /* 0: 443 */

    uint64_t idle_timeout_ms;    /* without calls for so long, lets go of everything; 0: 30 min;
                                            EVENER_NEVER_MS */
    uint64_t connect_timeout_ms; /* at least so long for one attempt; 0: 20 s (grpc: connection-backoff.md) */
    uint64_t backoff_initial_ms; /* 0: 1 s, x 1.6 a failure, +-20 % */
    uint64_t backoff_max_ms;     /* 0: 120 s */
    evener_empty_update empty_update;
    uint64_t empty_update_keep_ms; /* bound of staleness for KEEP; 0: 5 min; EVENER_NEVER_MS */
    /* HTTP/2 pings after so long without traffic while calls are under way, for as long as it is silent (unless grpc_args
     * set grpc.http2.max_pings_without_data); 0: the core's default (never) */
    uint64_t keepalive_time_ms;
    uint64_t keepalive_timeout_ms; /* 0: the core's default (20 s) */
    uint32_t queued_picks_max;     /* more waiting picks are refused RESOURCE_EXHAUSTED; 0: 1,000,000 */
    bool wait_for_ready;           /* the default for calls that do not say */
} evener_channel_options;

/* Opens a channel. On success stores a reference in *channel. `options` may be NULL only where nothing in it is needed
 * (never with the gRPC transport: credentials must be named). Errors: INVALID_ARGUMENT (target, service config,
 * options: the message says which and how), RESOURCE_EXHAUSTED, INTERNAL. Any thread; does not wait for the network. */
EVENER_API evener_status_code evener_channel_create(const char *target, const evener_channel_options *options,
                                                    evener_channel **channel, evener_status *status);

/* References. Calls under way hold references of their own and finish. The last unref closes the channel and waits until
 * nothing of it is left: resolver, policy and connections have ended, and a transport, builders or a runtime of the
 * caller's may end. (It does not wait on one of the runtime's own threads, nor with a loop of the caller's: then all
 * that happens shortly after.) NULL is allowed for unref. Any thread, but never while holding a lock that control-thread
 * code takes. */
EVENER_API evener_channel *evener_channel_ref(evener_channel *channel);
EVENER_API void evener_channel_unref(evener_channel *channel);

/* Closes now: queued picks and new calls end UNAVAILABLE "channel closed", calls under way finish, resolver, policy and
 * connections end shortly after. The handle stays valid (and useless) until unref. Twice is allowed. Any thread. */
EVENER_API void evener_channel_close(evener_channel *channel);

/* State now; with `try_to_connect`, an IDLE channel starts connecting. Any thread. */
EVENER_API evener_connectivity_state evener_channel_state(evener_channel *channel, bool try_to_connect);

/* Waits until the state is not `last_seen` (at most `timeout_ms`; 0: without limit) and returns the state: if that is
 * still `last_seen`, time ran out. Not on the control thread, nor with a loop of the caller's: returns at once there. Any
 * other thread. */
EVENER_API evener_connectivity_state evener_channel_wait_for_state_change(evener_channel *channel,
                                                                          evener_connectivity_state last_seen,
                                                                          uint64_t timeout_ms);

/* Connects and waits until READY, at most `timeout_ms` (0: without limit). Returns OK, DEADLINE_EXCEEDED with the last
 * connection error, or UNAVAILABLE when closed. Not on the control thread (FAILED_PRECONDITION). */
EVENER_API evener_status_code evener_channel_wait_ready(evener_channel *channel, uint64_t timeout_ms,
                                                        evener_status *status);

/* Starts connecting if IDLE; asks the resolver to look again; ends every backoff now (as grpc's
 * ResetConnectBackoff). Any thread; they take effect shortly after. */
EVENER_API void evener_channel_connect(evener_channel *channel);
EVENER_API void evener_channel_resolve_now(evener_channel *channel);
EVENER_API void evener_channel_reset_connect_backoff(evener_channel *channel);

/* Replaces the default service config of a live channel: connections, calls and statistics stay. `json` NULL: none.
 * Errors: INVALID_ARGUMENT, then nothing changes. Any thread. */
EVENER_API evener_status_code evener_channel_set_default_service_config(evener_channel *channel, const char *json,
                                                                        evener_status *status);

EVENER_API const char *evener_channel_target(const evener_channel *channel);
/* options.authority, or the default of the target. */
EVENER_API const char *evener_channel_authority(const evener_channel *channel);
EVENER_API evener_runtime *evener_channel_runtime(const evener_channel *channel);     /* borrowed */
EVENER_API evener_transport *evener_channel_transport(const evener_channel *channel); /* borrowed */
EVENER_API bool evener_channel_wait_for_ready_default(const evener_channel *channel);

/* ---- picking: for calls of evener/call.h it happens inside; for any other protocol it is the whole use ---- */

/* Picks without waiting. COMPLETE: *pick is set and must be ended with evener_pick_done(). QUEUE: no backend now (an
 * IDLE channel starts connecting). FAIL, DROP: `status` has the reason; with args->wait_for_ready FAIL is given as
 * QUEUE, but not INVALID_ARGUMENT (no args->size). `args` and `status` may be NULL. Takes no lock, allocates nothing,
 * makes no system call (but a thread's very first pick registers the thread). Any thread. */
EVENER_API evener_pick_outcome evener_channel_try_pick(evener_channel *channel, const evener_pick_args *args,
                                                       evener_pick *pick, evener_status *status);

/* Picks, waiting while the outcome is QUEUE, in order of arrival, at most args->timeout_ms. Returns OK, the picker's
 * status, DEADLINE_EXCEEDED with the last connection error, UNAVAILABLE when the channel closes, or INVALID_ARGUMENT (no
 * args->size). On the control thread, or with a loop of the caller's, it would wait for itself: FAILED_PRECONDITION
 * instead of waiting. */
EVENER_API evener_status_code evener_channel_pick(evener_channel *channel, const evener_pick_args *args,
                                                  evener_pick *pick, evener_status *status);

/* An asynchronous pick that may wait. Embedded in the caller's memory, which must stay until the callback. */
typedef struct evener_pick_request evener_pick_request;
typedef void (*evener_pick_callback)(void *arg, evener_status_code code, const evener_status *status);
struct evener_pick_request {
    size_t size;                   /* in: sizeof(evener_pick_request) */
    evener_pick *pick;             /* in: where the pick goes */
    evener_pick_callback callback; /* in */
    void *arg;                     /* in */
    /* the channel's from here on */
    evener_channel *channel;
    struct evener_pick_request *next, *previous;
    evener_timer timer;
    uint32_t state;
    evener_status_code result;
    void *waiter;
    evener_pick_args args; /* last, as it grows: `size` says how much of it there is */
};

/* Picks at once if it can: COMPLETE, FAIL or DROP is returned and the callback is not called. QUEUE: the callback comes
 * exactly once, on the control thread: OK (the pick is set), the picker's status, DEADLINE_EXCEEDED, CANCELLED, or
 * UNAVAILABLE. args->metadata and args->method must live until then. Without request->size, or args->size: FAIL with
 * INVALID_ARGUMENT. Any thread. */
EVENER_API evener_pick_outcome evener_channel_pick_async(evener_channel *channel, const evener_pick_args *args,
                                                         evener_pick_request *request, evener_status *status);

/* Asks to end a queued pick with CANCELLED; its callback still comes, exactly once. Only between QUEUE and callback.
 * Any thread. */
EVENER_API void evener_pick_request_cancel(evener_pick_request *request);

/* Ends a pick. `info` NULL: OK. No lock, no allocation, no system call, unless a policy's done breaks that rule. The
 * channel must not have been given back before. Any thread, also another than the pick's. */
EVENER_API void evener_pick_done(evener_pick *pick, const evener_done_info *info);

EVENER_END_DECLS

#endif
