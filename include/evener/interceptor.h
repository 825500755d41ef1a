/* Interceptor: sees every call of a channel, or one call, from its start to its end: for authentication, logging, metrics
 * and tracing without a change of evener or of the program's calls.
 *
 *     start ──▶ attempts, retries, hedges ──▶ headers ──▶ message* ──▶ done
 *
 *     static evener_status_code add_tenant(void *arg, evener_new_call *call, void **state, evener_status *status)
 *     {
 *         return evener_new_call_add(call, "x-tenant", arg, status);
 *     }
 *     static const evener_interceptor tenant = {.size = sizeof tenant, .arg = "blue", .start = add_tenant};
 *     static const evener_interceptor *const interceptors[] = {&tenant};
 *     ... options.interceptors = interceptors; options.interceptor_count = 1;
 *
 * The channel's come first, then the call's (evener_call_options), each in order; `done` runs in the reverse order. They
 * see the call, not its attempts: `start` and `done` run once, however often the call is retried. No function may block:
 * they run on the thread that starts the call, and on the threads of the transport's events. One function at a time per
 * call, except that a stream's `message` for sent and for received messages may meet. */
#ifndef EVENER_INTERCEPTOR_H
#define EVENER_INTERCEPTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/bytes.h>
#include <evener/picker.h>
#include <evener/status.h>

EVENER_BEGIN_DECLS

/* Interceptors of one call at most, those of the channel included; more: INVALID_ARGUMENT. */
#define EVENER_INTERCEPTORS_MAX 16

/* A call that is about to start. Valid inside `start`. */
typedef struct evener_new_call evener_new_call;

typedef struct evener_interceptor {
    size_t size; /* sizeof(evener_interceptor) */
    void *arg;   /* the interceptor's; passed to each function. The functions may be NULL */
    /* See a call before its first pick; may add metadata, bound its time, and refuse it: another status than OK ends the
     * call with it, and no attempt is made. *state, NULL at first, is passed to the other functions. When `start` was
     * called and returned OK, `done` follows exactly once. */
    evener_status_code (*start)(void *arg, evener_new_call *call, void **state, evener_status *status);
    /* See the server's headers; borrowed. At most once. Those of a unary call come with its end. */
    void (*headers)(void *arg, void *state, const evener_metadata *metadata, size_t count);
    /* See a message that the program sends, once, or that it receives; borrowed. Must not call functions of the call's
     * own stream: a message that is sent is seen under the stream's lock, and the call would wait for itself. */
    void (*message)(void *arg, void *state, bool sent, const evener_bytes *message);
    /* See the end; `status` is borrowed, `trailing` too (none if the call asks for no details). Before the program's own
     * callback. Frees the state. */
    void (*done)(void *arg, void *state, const evener_status *status, const evener_metadata *trailing,
                 size_t trailing_count);
} evener_interceptor;

/* Inside `start`: return "/package.Service/Method"; the channel's :authority; whether the connections are to verified
 * servers (TLS); whether the call is a stream. */
EVENER_API const char *evener_new_call_method(const evener_new_call *call);
EVENER_API const char *evener_new_call_authority(const evener_new_call *call);
EVENER_API bool evener_new_call_is_secure(const evener_new_call *call);
EVENER_API bool evener_new_call_is_streaming(const evener_new_call *call);

/* Inside `start`: add an entry of metadata; key and value are copied. The second function takes any bytes, for keys that
 * end in "-bin". Errors: RESOURCE_EXHAUSTED. */
EVENER_API evener_status_code evener_new_call_add(evener_new_call *call, const char *key, const char *value,
                                                  evener_status *status);
EVENER_API evener_status_code evener_new_call_add_bytes(evener_new_call *call, const char *key, const void *value,
                                                        size_t value_bytes, evener_status *status);

/* Metadata of a call that is not known yet, such as a token that has to be fetched. */
typedef struct evener_late_metadata evener_late_metadata;

/* Inside `start`, or `add` of credentials: let the call wait for metadata that comes later. Store a handle, which is to
 * be answered exactly once, on any thread, also at once. Until all handles of a call are answered, or one with a
 * failure, no attempt is made. Deadline and cancellation end the call meanwhile; the handle is to be answered all the same.
 * `start` of further interceptors runs at once. A blocking call waits on its thread: on the control thread it ends with
 * FAILED_PRECONDITION, unless it was answered at once. Errors: RESOURCE_EXHAUSTED. */
EVENER_API evener_status_code evener_new_call_defer(evener_new_call *call, evener_late_metadata **late,
                                                    evener_status *status);

/* Add an entry, as evener_new_call_add() and _add_bytes(). One thread at a time, before the answer. */
EVENER_API evener_status_code evener_late_metadata_add(evener_late_metadata *late, const char *key, const char *value,
                                                       evener_status *status);
EVENER_API evener_status_code evener_late_metadata_add_bytes(evener_late_metadata *late, const char *key,
                                                             const void *value, size_t value_bytes,
                                                             evener_status *status);

/* Let the call go on, or end it with a status other than OK (copied; NULL: OK). The handle is used up. Nothing happens
 * if the call has ended. Any thread; does not wait. */
EVENER_API void evener_late_metadata_answer(evener_late_metadata *late, const evener_status *status);

/* Inside `start`: bound the call's timeout, for example by what is left of the incoming call on whose behalf it is made
 * (see evener_timeout_parse()). 0: no bound. A shorter timeout stays. */
EVENER_API void evener_new_call_limit(evener_new_call *call, uint64_t timeout_ms);

/* ---- per-call credentials ---- */

/* Credentials of calls: add metadata such as "authorization", at once or later (evener_new_call_defer()). Used as an
 * interceptor:
 *
 *     static const evener_call_credentials bearer = {.size = sizeof bearer, .arg = &token, .add = add_token};
 *     static const evener_interceptor auth = EVENER_CALL_CREDENTIALS(&bearer);
 *
 * Over a channel without TLS they refuse the call with UNAUTHENTICATED, so that no secret is sent in the clear. */
typedef struct evener_call_credentials {
    size_t size; /* sizeof(evener_call_credentials) */
    void *arg;
    /* Add metadata by evener_new_call_add(), or have the call wait for it. `url` is the audience of tokens,
     * "https://authority/package.Service". An error ends the call. */
    evener_status_code (*add)(void *arg, evener_new_call *call, const char *url, evener_status *status);
    bool allow_insecure; /* also over channels without TLS */
} evener_call_credentials;

EVENER_API evener_status_code evener_call_credentials_start(void *arg, evener_new_call *call, void **state,
                                                            evener_status *status);
#define EVENER_CALL_CREDENTIALS(credentials)                                                                           \
    {                                                                                                                  \
        .size = sizeof(evener_interceptor), .arg = (void *)(uintptr_t)(credentials),                                   \
        .start = evener_call_credentials_start                                                                         \
    }

EVENER_END_DECLS

#endif
