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
 * A channel is IDLE until the first call or evener_channel_connect(): it resolves and connects nothing before. */
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

/* How a channel handles an empty list of its resolver while it knows addresses. */
typedef enum evener_empty_update {
    /* EVENER_EMPTY_UPDATE_KEEP: wrong empty answers have caused outages (grpc-go 8398, go-zero 4941), and calls of a
     * service that is really empty fail anyway. */
    EVENER_EMPTY_UPDATE_DEFAULT = 0,
    EVENER_EMPTY_UPDATE_FAIL = 1, /* calls fail at once, as in gRPC */
    EVENER_EMPTY_UPDATE_KEEP = 2  /* the last list serves on, for at most empty_update_keep_ms */
} evener_empty_update;

#define EVENER_NEVER_MS UINT64_MAX
#define EVENER_CONNECTIONS_PER_BACKEND_MAX 64 /* limit of the option connections_per_backend_max */
/* For evener_channel_options.calls_waiting_max: a call above a limit ends at once. */
#define EVENER_NO_CALLS_WAITING UINT32_MAX

/* Zero in a field is its documented default. All pointers are borrowed for the call and copied as needed, unless the
 * field says otherwise. */
typedef struct evener_channel_options {
    size_t size;                           /* sizeof(evener_channel_options) */
    evener_runtime *runtime;               /* NULL: the process-wide default */
    const evener_credentials *credentials; /* for the built-in transports; must be named */
    /* NULL: that of transport_name, with `credentials`. Otherwise owned by the caller (`destroy` is not called); must
     * outlive the channel. */
    evener_transport *transport;
    /* A `const grpc_channel_args *`: further arguments for the core's channels, with the transport "grpc" only; or
     * NULL. */
    const void *grpc_args;

    /* The channel's own builders win over registered ones. The array is copied. The builders must outlive the
     * channel, unless they are counted (evener_resolver_builder.ref, as for manual resolvers): then the channel holds
     * references. */
    const evener_resolver_builder *const *resolvers;
    size_t resolver_count;
    const evener_policy_builder *const *policies; /* likewise; never counted */
    size_t policy_count;
    const evener_attribute *resolver_options; /* "dns.min_refresh_ms" = "1000": see docs/resolvers.md */
    size_t resolver_option_count;

    const char *policy; /* the policy when no service config names one; NULL: "pick_first" */
    /* JSON; in force while the resolver provides none. NULL: none. A bad one makes create fail. */
    const char *default_service_config;
    bool ignore_service_config; /* ignore the resolver's service config */

    /* :authority, and the name that TLS verifies, of every backend, whatever its attributes say; not "". NULL: the
     * backend's attribute "authority", otherwise the target's host. For a target without a host TLS verifies each
     * backend's own IP address and refuses Unix sockets, which have none (docs/resolvers.md). */
    const char *authority;
    const char *user_agent; /* prefix of the transport's own; NULL: "grpc" sends "evener/VERSION", "http2" none */
    uint32_t default_port;  /* 0: 443 */

    uint64_t idle_timeout_ms; /* after this time without calls the channel becomes IDLE; 0: 30 min; EVENER_NEVER_MS */
    uint64_t connect_timeout_ms; /* lower bound for the time of one attempt; 0: 20 s (grpc: connection-backoff.md) */
    uint64_t backoff_initial_ms; /* 0: 1 s; x 1.6 per failure, +-20 % */
    uint64_t backoff_max_ms;     /* 0: 120 s */
    evener_empty_update empty_update;
    uint64_t empty_update_keep_ms; /* limit for KEEP; 0: 5 min; EVENER_NEVER_MS */
    /* HTTP/2 pings after this time without traffic while calls are in flight, repeated while the connection stays
     * silent (unless grpc_args set grpc.http2.max_pings_without_data); 0: the core's default (never) */
    uint64_t keepalive_time_ms;
    uint64_t keepalive_timeout_ms; /* 0: the core's default (20 s) */
    uint32_t queued_picks_max;     /* further waiting picks are refused with RESOURCE_EXHAUSTED; 0: 1,000,000 */
    bool wait_for_ready;           /* default for calls that do not set it */
    /* The transport by name ("grpc", "http2", or one of evener_transport_register()); NULL: what EVENER_TRANSPORT in
     * the environment says, else "grpc" in a process that was linked with libevener-grpc when libevener was loaded,
     * else "http2". "grpc" in a process without libevener-grpc loads libevener-grpc.so.1; that changes no default. Not
     * with `transport`. */
    const char *transport_name;
    bool keepalive_permit_without_calls; /* keepalive pings also while no call is in flight (A8, client keepalive) */
    bool ignore_http_proxy;              /* do not use the HTTP CONNECT proxies that the environment names */
    /* Limit of the header list of an answer (RFC 9113 section 6.5.2); above it a call ends with RESOURCE_EXHAUSTED. 0:
     * the transport's default: "http2" 64 KiB, "grpc" the core's */
    uint32_t header_list_bytes_max;
    /* Limits of a message, before compression; above them a call ends with RESOURCE_EXHAUSTED. A method's
     * maxResponseMessageBytes and maxRequestMessageBytes in the service config bound them further, or replace the
     * default. SIZE_MAX: none */
    size_t receive_bytes_max;       /* 0: 4 MiB */
    size_t send_bytes_max;          /* 0: none */
    evener_compression compression; /* of messages sent, for calls that do not set it */
    /* I/O threads of "http2", at most 64; 0: one per processor, at most 4. They belong to the runtime: the first
     * channel of the runtime that connects decides. */
    uint32_t io_threads;
    /* Callbacks of asynchronous calls and streams run on call threads of the runtime, one per processor (at least 2, at
     * most 4), where they may block: each costs a hand-over between threads. Otherwise they run on the I/O threads of
     * the transport, where they must not. Over "grpc" they always run on call threads. */
    bool callbacks_on_call_threads;
    /* Share no connection with other channels. By default the channels of a runtime share the connection to a backend,
     * its backoff included, if the backend's address, authority and verified name are equal, and the channels'
     * transport, credentials (the same handle, or TLS with equal texts), user agent and connection settings (keepalive,
     * proxy, time-outs, limits of headers and messages). Channels with grpc_args share none. */
    bool own_connections;
    /* Attempts that a call makes at most, whatever the service config's retryPolicy or hedgingPolicy says (A6); 1: no
     * retries and no hedging; 0: 5. Transparent retries do not count. */
    uint32_t attempts_max;
    /* A file that keeps the last good list (addresses, attributes, service config) over a restart; one per channel, in a
     * folder that exists. When the channel starts and the resolver fails, or has not answered within 50 ms, it serves
     * from this file until the resolver's first answer. A damaged file, one of another target and one that is too old
     * are refused; evener_channel_stats.last_cache_error has the reason. Written on a work thread, as a whole: a
     * process that is killed leaves the old file or the new one. NULL: none */
    const char *cache_file;
    /* A file whose list was last confirmed by the resolver longer ago is refused; 0: 24 h; EVENER_NEVER_MS */
    uint64_t cache_max_age_ms;
    /* Interceptors of all calls (evener/interceptor.h), before those of the call; the array is copied, the interceptors
     * stay the program's and must outlive the channel's calls. They cannot be changed on a live channel. */
    const struct evener_interceptor *const *interceptors;
    size_t interceptor_count; /* at most EVENER_INTERCEPTORS_MAX */
    /* Limits of calls in flight over this channel, and to each backend: a full backend is not picked. Every pick counts
     * from its success to its end, so each attempt of a retried or hedged call. Calls that began before a limit was set
     * do not count. 0: no limit; a limit in the service config (evenerLimits) applies on top. */
    uint32_t calls_in_flight_max;
    uint32_t backend_calls_in_flight_max; /* at most 16,777,215 */
    /* Calls that wait for the end of another one because of these limits, in the order of their arrival. A further one,
     * or one that has waited too long, ends with UNAVAILABLE (A32, circuit breaking) and is not retried. */
    uint32_t calls_waiting_max; /* 0: 1,000; EVENER_NO_CALLS_WAITING: none waits */
    uint32_t calls_wait_ms_max; /* 0: 1 s */
    /* Connections to one backend at most, whatever the service config's connectionScaling says (A105, connection
     * scaling), at most EVENER_CONNECTIONS_PER_BACKEND_MAX; 0: 10. Channels that share connections make as many as the
     * one with the largest number, after its own limit. */
    uint32_t connections_per_backend_max;
} evener_channel_options;

/* Create a channel. On success store a reference in *channel. `options` may be NULL only if none is needed (never with
 * the built-in transports, which need credentials). Errors: INVALID_ARGUMENT (target, service config, options; the
 * message names the place and the remedy), FAILED_PRECONDITION (the transport "grpc" without libevener-grpc; the gRPC
 * core's credentials with another transport), RESOURCE_EXHAUSTED, INTERNAL. Any thread; does not wait for the
 * network. */
EVENER_API evener_status_code evener_channel_create(const char *target, const evener_channel_options *options,
                                                    evener_channel **channel, evener_status *status);

/* Take or give back a reference. Calls in flight hold references of their own and finish. The last unref closes the
 * channel and waits until resolver, policy and connections have ended, so that the caller may then end a transport,
 * builders or a runtime of its own. It does not wait on one of the runtime's own threads, nor with a loop of the
 * caller's: there everything ends shortly after. NULL is allowed for unref. Any thread, but never while holding a
 * lock that control-thread code takes. */
EVENER_API evener_channel *evener_channel_ref(evener_channel *channel);
EVENER_API void evener_channel_unref(evener_channel *channel);

/* Close the channel now. Queued picks and new calls end with UNAVAILABLE "channel closed"; calls in flight finish;
 * resolver, policy and connections end shortly after. The handle stays valid (without use) until unref. May be called
 * twice. Any thread. */
EVENER_API void evener_channel_close(evener_channel *channel);

/* Return the state. With `try_to_connect`, an IDLE channel starts connecting. Any thread. */
EVENER_API evener_connectivity_state evener_channel_state(evener_channel *channel, bool try_to_connect);

/* Wait until the state is not `last_seen`, at most `timeout_ms` (0: without limit), and return the state. If it is
 * still `last_seen`, time ran out. On the control thread, or with a loop of the caller's, return at once. Any
 * thread. */
EVENER_API evener_connectivity_state evener_channel_wait_for_state_change(evener_channel *channel,
                                                                          evener_connectivity_state last_seen,
                                                                          uint64_t timeout_ms);

/* Connect and wait until READY, at most `timeout_ms` (0: without limit). Return OK, DEADLINE_EXCEEDED with the last
 * connection error, or UNAVAILABLE when closed. Any thread but the control thread (FAILED_PRECONDITION). */
EVENER_API evener_status_code evener_channel_wait_ready(evener_channel *channel, uint64_t timeout_ms,
                                                        evener_status *status);

/* Connect and wait until the picker in force was published with at least `count` READY backends (0: as 1), at most
 * `timeout_ms` (0: without limit): from then on the picks of a policy that uses all of them, such as round_robin, reach
 * that many. While one policy or list replaces another, the backends of both count. pick_first has one at most, and
 * ring_hash one more than calls have asked for. Return OK, DEADLINE_EXCEEDED with the number reached and the last
 * connection error, or UNAVAILABLE when closed. Any thread but the control thread (FAILED_PRECONDITION). */
EVENER_API evener_status_code evener_channel_wait_ready_backends(evener_channel *channel, size_t count,
                                                                 uint64_t timeout_ms, evener_status *status);

/* Start connecting if IDLE. A policy that connects on demand, such as ring_hash, connects one backend. Any thread; takes
 * effect shortly after. */
EVENER_API void evener_channel_connect(evener_channel *channel);
/* Ask the resolver to resolve again. It may coalesce and rate-limit such hints. Any thread; takes effect shortly after. */
EVENER_API void evener_channel_resolve_now(evener_channel *channel);
/* End every backoff now (grpc: ResetConnectBackoff). Any thread; takes effect shortly after. */
EVENER_API void evener_channel_reset_connect_backoff(evener_channel *channel);

/* Replace the default service config of a live channel. Connections, calls and statistics stay. `json` NULL: none.
 * Errors: INVALID_ARGUMENT; nothing changes then. Any thread. */
EVENER_API evener_status_code evener_channel_set_default_service_config(evener_channel *channel, const char *json,
                                                                        evener_status *status);

/* Replace the credentials of a live channel, for all connections made from now on. Each connection serves until its
 * successor, made with the new credentials, is READY; a successor that fails is retried with backoff while the old one
 * serves on (`last_error` of its statistics has the reason). `credentials` is borrowed. Errors: INVALID_ARGUMENT (NULL,
 * or refused by the transport), FAILED_PRECONDITION (the transport cannot replace them, or cannot use this kind),
 * UNAVAILABLE (closed); the old ones stay in force then. Any thread, but never while holding a
 * lock that control-thread code takes. */
EVENER_API evener_status_code evener_channel_set_credentials(evener_channel *channel,
                                                             const evener_credentials *credentials,
                                                             evener_status *status);

/* Return the target as it was given, in memory that lives as long as the channel. Any thread, as the next four. */
EVENER_API const char *evener_channel_target(const evener_channel *channel);
/* Return options.authority, or the default of the target. It lives as long as the channel. */
EVENER_API const char *evener_channel_authority(const evener_channel *channel);
/* Return the runtime, borrowed from the channel. */
EVENER_API evener_runtime *evener_channel_runtime(const evener_channel *channel);
/* Return the transport, borrowed from the channel. */
EVENER_API evener_transport *evener_channel_transport(const evener_channel *channel);
/* Return whether calls wait for a READY backend if their options do not say it. */
EVENER_API bool evener_channel_wait_for_ready_default(const evener_channel *channel);

/* ---- picks: calls of evener/call.h pick inside; for any other protocol, picks are all that is needed ---- */

/* Pick without waiting. COMPLETE: *pick is set; end it with evener_pick_done(). QUEUE: there is no backend now (an
 * IDLE channel starts connecting). FAIL, DROP: `status` has the reason. With args->wait_for_ready, QUEUE is returned
 * instead of FAIL, except for INVALID_ARGUMENT (no args->size). `args` and `status` may be NULL. Takes no lock,
 * allocates nothing, makes no system call (except that a thread's first pick registers the thread, and that with more
 * than 64 picking threads one pick may wake the control thread). Any thread. */
EVENER_API evener_pick_outcome evener_channel_try_pick(evener_channel *channel, const evener_pick_args *args,
                                                       evener_pick *pick, evener_status *status);

/* Pick; while the outcome is QUEUE wait in order of arrival, at most args->timeout_ms. Return OK, the picker's
 * status, DEADLINE_EXCEEDED with the last connection error, UNAVAILABLE when the channel closes, or INVALID_ARGUMENT
 * (no args->size). On the control thread, or with a loop of the caller's, returns FAILED_PRECONDITION instead of
 * waiting, which would deadlock. */
EVENER_API evener_status_code evener_channel_pick(evener_channel *channel, const evener_pick_args *args,
                                                  evener_pick *pick, evener_status *status);

/* An asynchronous pick. Embedded in the caller's memory, which must stay until the callback. */
typedef struct evener_pick_request evener_pick_request;
typedef void (*evener_pick_callback)(void *arg, evener_status_code code, const evener_status *status);
struct evener_pick_request {
    size_t size;                   /* in: sizeof(evener_pick_request) */
    evener_pick *pick;             /* in: receives the pick */
    evener_pick_callback callback; /* in */
    void *arg;                     /* in */
    /* private to the channel */
    evener_channel *channel;
    struct evener_pick_request *next, *previous;
    evener_timer timer;
    uint32_t state;
    evener_status_code result;
    void *waiter;
    uint64_t full_at_ns;   /* since when it waits because of a limit; 0: it does not */
    evener_pick_args args; /* last, as it grows: `size` includes the members that the caller knows */
};

/* Pick at once if possible: returns COMPLETE, FAIL or DROP without calling the callback. QUEUE: the callback comes
 * exactly once, on the control thread, with OK (the pick is set), the picker's status, DEADLINE_EXCEEDED, CANCELLED,
 * or UNAVAILABLE. args->metadata and args->method must live until then. Without request->size or args->size: FAIL
 * with INVALID_ARGUMENT. Any thread. */
EVENER_API evener_pick_outcome evener_channel_pick_async(evener_channel *channel, const evener_pick_args *args,
                                                         evener_pick_request *request, evener_status *status);

/* End a queued pick with CANCELLED. Its callback still comes, exactly once. Only between QUEUE and callback. Any
 * thread. */
EVENER_API void evener_pick_request_cancel(evener_pick_request *request);

/* End a pick. `info` NULL: OK. No lock, no allocation, no system call, unless a policy's done breaks that rule. The
 * channel must not have been given back before. Any thread, not only the pick's. */
EVENER_API void evener_pick_done(evener_pick *pick, const evener_done_info *info);

EVENER_END_DECLS

#endif
