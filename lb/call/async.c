/* Asynchronous unary calls: the loop of attempts (attempts.h) with a callback at its end.
 *
 * A call is one piece of memory out of a pool: this struct, the transport's part, what a call thread needs (with
 * callbacks_on_call_threads), then copies of what the caller lends until evener_call_start() has returned (method,
 * authority, metadata, trace). */
#include <evener/call.h>

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "lb/base/fork.h"
#include "lb/base/memory.h"
#include "lb/call/attempts.h"
#include "lb/call/copies.h"
#include "lb/call/details.h"
#include "lb/call/hedge.h"
#include "lb/call/interceptors.h"
#include "lb/channel/channel_internal.h"
#include "lb/runtime/object_pool.h"
#include "lb/runtime/uncancelled.h"
#include "lb/runtime/work_threads.h"

/* The end, on its way to a call thread. */
typedef struct delivery {
    evener_work work;
    evener_call *call;
    evener_status status;
    evener_bytes response;
} delivery;

struct evener_call {
    evener_attempts attempts;
    evener_hedge *_Atomic hedge;           /* NULL: not hedged, or not yet; then `attempts` makes no attempt itself */
    evener_work_threads *callback_threads; /* NULL: the callback runs where the call ends */
    delivery *delivery;                    /* in this memory; with callback_threads */
    _Atomic uint32_t references;
    evener_channel *channel; /* a reference */
    evener_bytes request;    /* a reference */
    evener_call_callback callback;
    void *arg;
    size_t bytes;             /* of this memory */
    uint32_t fork_generation; /* a call that has ended has no channel to ask */
};

static evener_call *call_of(evener_attempts *attempts)
{
    return EVENER_CONTAINER_OF(attempts, evener_call, attempts);
}

/* ---- life ---- */

evener_call *evener_call_ref(evener_call *call)
{
    atomic_fetch_add_explicit(&call->references, 1, memory_order_relaxed);
    return call;
}

static void call_free(evener_call *call)
{
    evener_hedge_free(atomic_load_explicit(&call->hedge, memory_order_relaxed));
    evener_attempts_clear(&call->attempts);
    evener_bytes_clear(&call->request);
    evener_pool_give_back(call, call->bytes);
}

void evener_call_unref(evener_call *call)
{
    /* acq_rel: the last one sees what the others did. */
    if (call != NULL && atomic_fetch_sub_explicit(&call->references, 1, memory_order_acq_rel) == 1) {
        call_free(call);
    }
}

/* Give the object's own reference back, and the channel's: from here on only the caller's handle is left. */
static void release(evener_call *call)
{
    evener_channel *channel = call->channel;
    evener_call_unref(call);
    evener_channel_unref(channel);
}

/* ---- hooks ---- */

static void ref(evener_attempts *attempts)
{
    (void)evener_call_ref(call_of(attempts));
}

static void unref(evener_attempts *attempts)
{
    evener_call_unref(call_of(attempts));
}

static void run_callback(evener_work *work)
{
    delivery *d = EVENER_CONTAINER_OF(work, delivery, work);
    evener_call *call = d->call;
    call->callback(call->arg, &d->status, &d->response);
    evener_bytes_clear(&d->response);
    release(call);
}

static void finished(evener_attempts *attempts, const evener_status *status, const evener_call_end *end)
{
    evener_call *call = call_of(attempts);
    evener_bytes response = {0};
    evener_rpc_report(&attempts->rpc, status->code);
    if (status->code == EVENER_STATUS_OK && end != NULL && end->response != NULL) {
        response = *end->response;
        end->response->owner = NULL;
    }
    if (call->callback_threads != NULL) {
        delivery *d = call->delivery;
        *d = (delivery){.work.run = run_callback, .call = call, .status = *status, .response = response};
        evener_work_threads_put(call->callback_threads, &d->work);
        return;
    }
    call->callback(call->arg, status, &response);
    evener_bytes_clear(&response);
    release(call);
}

static void headers(evener_transport_call *wire, const evener_metadata *metadata, size_t count)
{
    const evener_attempts *attempts = wire->arg;
    evener_details_headers(attempts->details, metadata, count);
}

static const evener_call_events events = {.size = sizeof events, .headers = headers, .ended = evener_attempts_ended};

static evener_status_code start_hedge(evener_call *call, evener_status *status)
{
    evener_hedge *hedge = NULL;
    (void)evener_call_ref(call); /* the call may end before this returns */
    const evener_status_code code = evener_hedge_start(&call->attempts, &hedge, status);
    /* Release pairs with evener_call_cancel(). */
    atomic_store_explicit(&call->hedge, hedge, memory_order_release);
    if (code == EVENER_STATUS_OK && evener_attempts_is_cancelled(&call->attempts)) {
        evener_hedge_cancel(hedge);
    }
    evener_call_unref(call);
    return code;
}

/* Start the attempts after metadata that came later. */
static void resumed(evener_attempts *attempts)
{
    evener_status status;
    evener_call *call = call_of(attempts);
    (void)evener_call_ref(call);
    const evener_status_code code = evener_hedge_is_wanted(&attempts->rpc)
                                        ? start_hedge(call, &status)
                                        : evener_attempts_start(attempts, true, &status);
    if (code != EVENER_STATUS_OK) {
        evener_attempts_fail(attempts, &status);
    }
    evener_call_unref(call);
}

static const evener_attempts_hooks hooks = {
    .events = &events, .resumed = resumed, .finished = finished, .ref = ref, .unref = unref};

/* ---- the public side ---- */

void evener_call_cancel(evener_call *call)
{
    EVENER_UNCANCELLED;
    if (evener_fork_is_older(call->fork_generation)) {
        return;
    }
    evener_attempts_cancel(&call->attempts); /* of a hedged call: for one that has no hedge yet */
    evener_hedge *hedge = atomic_load_explicit(&call->hedge, memory_order_acquire);
    if (hedge != NULL) {
        evener_hedge_cancel(hedge);
    }
}

static evener_call *call_create(evener_channel *channel, size_t copies_bytes)
{
    /* Acquire: pairs with evener_channel_reconfigure(). */
    evener_work_threads *threads = __atomic_load_n(&channel->calls.callback_threads, __ATOMIC_ACQUIRE);
    const evener_transport_calls *calls = evener_channel_transport(channel)->vtable->calls;
    const size_t wire_at = (sizeof(evener_call) + 63) & ~(size_t)63;
    const size_t delivery_at = wire_at + evener_rpc_call_bytes(calls);
    const size_t copies_at = delivery_at + (threads != NULL ? (sizeof(delivery) + 63) & ~(size_t)63 : 0);
    bool is_new;
    evener_call *call = evener_pool_take(copies_at + copies_bytes, &is_new);
    if (call == NULL) {
        return NULL;
    }
    if (!is_new) {
        memset(call, 0, delivery_at); /* it may have been another transport's */
    }
    call->callback_threads = threads;
    call->delivery = (delivery *)(void *)((char *)call + delivery_at);
    call->bytes = copies_at + copies_bytes;
    call->fork_generation = evener_fork_generation;
    call->attempts.wire = (evener_transport_call *)(void *)((char *)call + wire_at);
    return call;
}

/* Inlined into evener_call_start(): the usual way. */
static inline __attribute__((always_inline)) evener_status_code start_plainly(
    evener_channel *channel, const char *method, const evener_bytes *request, const evener_call_options *options,
    evener_late *late, evener_call_callback callback, void *arg, evener_call **call, evener_status *status)
{
    EVENER_UNCANCELLED;
    evener_status found;
    evener_status_code code;
    const size_t copies_bytes = evener_copies_bytes(method, options);
    evener_call *made = call_create(channel, copies_bytes);
    if (made == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "call of %s: out of memory", method);
    }
    evener_attempts *attempts = &made->attempts;
    evener_rpc_init(&attempts->rpc, channel, method, options);
    evener_copies_make(&attempts->rpc, (char *)made + made->bytes - copies_bytes);
    attempts->hooks = &hooks;
    attempts->late = evener_late_ref(late);
    attempts->details = options->details;
    attempts->begin = (evener_call_begin_args){.unary = true, .request = &made->request};
    evener_attempts_init(attempts);
    made->callback = callback;
    made->arg = arg;
    atomic_init(&made->references, 2);
    if (request != NULL) {
        made->request = evener_bytes_ref(request);
        if (made->request.length < request->length) {
            call_free(made);
            return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "call of %s: out of memory", method);
        }
    }
    made->channel = evener_channel_ref(channel);
    code = evener_rpc_admit(&attempts->rpc, &found);
    if (code != EVENER_STATUS_OK) {
        evener_status_set(status, code, "%s", found.message);
        release(made);
        evener_call_unref(made);
        return code;
    }
    code = evener_hedge_is_wanted(&attempts->rpc) && !evener_attempts_has_late(attempts)
               ? start_hedge(made, &found)
               : evener_attempts_begin(attempts, true, &found);
    if (code != EVENER_STATUS_OK) {
        evener_rpc_report(&attempts->rpc, code);
        evener_status_set(status, code, "%s", found.message);
        release(made);
        evener_call_unref(made);
        return code;
    }
    if (call != NULL) {
        *call = made;
    } else {
        evener_call_unref(made);
    }
    return evener_status_clear(status);
}

evener_status_code evener_call_start_plainly(evener_channel *channel, const char *method, const evener_bytes *request,
                                             const evener_call_options *options, evener_late *late,
                                             evener_call_callback callback, void *arg, evener_call **call,
                                             evener_status *status)
{
    return start_plainly(channel, method, request, options, late, callback, arg, call, status);
}

/* ---- interceptors ---- */

/* What lies between the call's callback and the program's. */
typedef struct intercepted {
    evener_interception *interception;
    evener_call_callback callback;
    void *arg;
    evener_call_details *details; /* the program's, or own_details, or NULL */
    evener_call_details own_details;
} intercepted;

static void intercepted_ended(void *arg, const evener_status *status, evener_bytes *response)
{
    intercepted *i = arg;
    if (i->details != NULL && i->details->initial_metadata_count > 0) {
        evener_interception_headers(i->interception, i->details->initial_metadata, i->details->initial_metadata_count);
    }
    if (status->code == EVENER_STATUS_OK) {
        evener_interception_message(i->interception, false, response);
    }
    evener_interception_end(i->interception, status, i->details);
    i->callback(i->arg, status, response);
    evener_call_details_clear(&i->own_details);
    free(i);
}

static __attribute__((noinline)) evener_status_code start_intercepted(evener_channel *channel, const char *method,
                                                                      const evener_bytes *request,
                                                                      evener_call_options *options,
                                                                      evener_call_callback callback, void *arg,
                                                                      evener_call **call, evener_status *status)
{
    evener_status own_status;
    status = status != NULL ? status : &own_status;
    intercepted *i = calloc(1, sizeof *i);
    if (i == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "call of %s: out of memory", method);
    }
    evener_status_code code = evener_interception_begin(channel, method, false, options, &i->interception, status);
    if (code != EVENER_STATUS_OK) {
        free(i);
        return code;
    }
    static const evener_bytes nothing = {.data = (const uint8_t *)"", .length = 0};
    evener_interception_message(i->interception, true, request != NULL ? request : &nothing);
    i->callback = callback;
    i->arg = arg;
    i->own_details.size = sizeof i->own_details;
    if (options->details == NULL && evener_interception_wants_headers(i->interception)) {
        options->details = &i->own_details;
    }
    i->details = options->details;
    code = evener_call_start_plainly(channel, method, request, options, evener_interception_late(i->interception),
                                     intercepted_ended, i, call, status);
    if (code != EVENER_STATUS_OK) { /* the callback does not come */
        evener_interception_end(i->interception, status, NULL);
        evener_call_details_clear(&i->own_details);
        free(i);
    }
    return code;
}

evener_status_code evener_call_start(evener_channel *channel, const char *method, const evener_bytes *request,
                                     const evener_call_options *given, evener_call_callback callback, void *arg,
                                     evener_call **call, evener_status *status)
{
    evener_call_options options;
    const evener_status_code code = evener_rpc_check(channel, method, given, &options, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    if (callback == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "call of %s: the callback is NULL", method);
    }
    return evener_is_intercepted(channel, &options)
               ? start_intercepted(channel, method, request, &options, callback, arg, call, status)
               : start_plainly(channel, method, request, &options, NULL, callback, arg, call, status);
}
