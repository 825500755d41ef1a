/* Blocking unary calls: pick, begin, wait, done. Everything lies on the caller's stack. */
#include <evener/call.h>

#include <stdlib.h>
#include <string.h>

#include "lb/base/memory.h"
#include "lb/call/details.h"
#include "lb/call/hedge.h"
#include "lb/call/interceptors.h"
#include "lb/call/retry.h"
#include "lb/call/rpc.h"
#include "lb/channel/channel_internal.h"
#include "lb/runtime/uncancelled.h"

/* Up to this size the transport's part of a call is on the stack; above, in memory of its own. */
#define STACK_CALL_BYTES_MAX 4096

enum { WAITING = 0, ENDED = 1 };

typedef struct unary {
    evener_rpc *rpc;
    evener_transport_call *call;
    evener_pick pick;
    evener_call_details *details;
    evener_bytes *response;
    evener_status *status;
    evener_status_code code;
    bool is_committed; /* from the start: no retry by policy */
    evener_retry_step next;
    uint64_t delay_ns; /* of LATER */
    uint32_t word;     /* WAITING until the attempt has ended */
} unary;

static void unary_headers(evener_transport_call *call, const evener_metadata *metadata, size_t count)
{
    const unary *u = call->arg;
    evener_details_headers(u->details, metadata, count);
}

static void take_response(evener_bytes *from, evener_bytes *to)
{
    if (to == NULL) {
        return;
    }
    *to = (evener_bytes){0};
    if (from != NULL) {
        *to = *from;
        from->owner = NULL;
    }
}

static void unary_ended(evener_transport_call *call, const evener_call_end *end)
{
    unary *u = call->arg;
    const evener_retry_facts facts = {.may_repeat = true, .committed = u->is_committed};
    u->next = evener_retry_is_over(u->rpc, end)
                  ? EVENER_RETRY_FINISH
                  : evener_retry_after_attempt(u->rpc, &u->pick, end, facts, &u->delay_ns);
    if (u->next == EVENER_RETRY_FINISH) {
        u->code = end->timed_out ? EVENER_STATUS_DEADLINE_EXCEEDED : end->code;
        evener_rpc_set_status(u->rpc, &u->pick, end, u->status);
        if (u->details != NULL) {
            evener_status status;
            evener_rpc_set_status(u->rpc, &u->pick, end, &status); /* the caller's may be NULL */
            evener_rpc_fill_details(&u->pick, end, &status, u->details);
        }
        if (end->code == EVENER_STATUS_OK) {
            take_response(end->response, u->response);
        }
    }
    evener_rpc_end_pick(u->rpc, &u->pick, end);
    evener_wait_word_set(&u->word, ENDED); /* from here on the caller's stack may be gone */
}

static const evener_call_events unary_events = {
    .size = sizeof unary_events, .headers = unary_headers, .ended = unary_ended};

/* Run one attempt on the pick to its end. Not OK: it could not begin, and the pick is ended. */
static evener_status_code attempt(unary *u, const evener_bytes *request, evener_status *refusal)
{
    evener_rpc *rpc = u->rpc;
    evener_connection *connection = u->pick.connection;
    const bool transport_waits = rpc->calls->call_wait != NULL;
    evener_call_begin_args args = {
        .events = &unary_events,
        .unary = true,
        .blocking = transport_waits,
        .wants_metadata = u->details != NULL,
        .request = request,
    };
    evener_rpc_fill_begin_args(rpc, &u->pick, &args);
    u->word = WAITING;
    u->call->arg = u;
    /* The pick ends with `ended`, on another thread perhaps; the connection must outlive the wait. */
    evener_subchannel *users = evener_pick_keep_connection(&u->pick);
    const evener_status_code code = rpc->calls->call_begin(connection, u->call, &args, refusal);
    if (code != EVENER_STATUS_OK) {
        evener_rpc_drop_pick(&u->pick, code);
    } else {
        while ((__atomic_load_n(&u->word, __ATOMIC_ACQUIRE) & ~EVENER_WAIT_BITS) == WAITING) {
            if (transport_waits) {
                rpc->calls->call_wait(u->call, &u->word, WAITING, UINT64_MAX);
            } else {
                evener_wait_word_sleep(&u->word, WAITING, UINT64_MAX);
            }
        }
    }
    evener_connection_let_go(users);
    return code;
}

/* Judge a pick without a backend, and wait until it is to be made again. False: its status stands, in *status. */
static bool picks_again(unary *u, evener_status *status)
{
    uint64_t delay_ns;
    const evener_retry_facts facts = {.may_repeat = true, .committed = u->is_committed};
    if (evener_retry_after_pick(u->rpc, &u->pick, status, facts, &delay_ns) == EVENER_RETRY_FINISH) {
        return false;
    }
    (void)evener_retry_sleep(u->rpc, delay_ns); /* a passed deadline is seen before the pick */
    return true;
}

static evener_status_code run(unary *u, const evener_bytes *request)
{
    evener_rpc *rpc = u->rpc;
    for (;;) {
        if (!evener_rpc_set_pick_timeout(rpc)) {
            return evener_rpc_deadline_status(rpc, u->status);
        }
        u->pick.layer_count = 0;
        evener_status_code code = evener_channel_pick(rpc->channel, &rpc->pick_args, &u->pick, u->status);
        if (code != EVENER_STATUS_OK) {
            if (picks_again(u, u->status)) {
                continue;
            }
            return code;
        }
        rpc->attempts++;
        evener_details_begin(u->details, rpc->attempts);
        evener_status refusal;
        code = attempt(u, request, &refusal);
        if (code == EVENER_STATUS_OK && u->next == EVENER_RETRY_FINISH) {
            return u->code;
        }
        if (code == EVENER_STATUS_OK && u->next == EVENER_RETRY_LATER) {
            (void)evener_retry_sleep(rpc, u->delay_ns);
        }
        if (code != EVENER_STATUS_OK && code != EVENER_STATUS_UNAVAILABLE) {
            return evener_status_set(u->status, code, "call of %s: %s", rpc->pick_args.method, refusal.message);
        }
    }
}

/* ---- hedged calls: asynchronous ones that are waited for ---- */

typedef struct hedged {
    evener_bytes *response;
    evener_status *status;
    evener_status_code code;
    uint32_t word; /* WAITING until the callback has come */
} hedged;

static void hedged_ended(void *arg, const evener_status *status, evener_bytes *response)
{
    hedged *h = arg;
    h->code = status->code;
    if (h->status != NULL) {
        *h->status = *status;
    }
    if (status->code == EVENER_STATUS_OK) {
        take_response(response, h->response);
    }
    evener_wait_word_set(&h->word, ENDED); /* from here on the caller's stack may be gone */
}

static __attribute__((noinline)) evener_status_code call_hedged(evener_channel *channel, const char *method,
                                                                const evener_bytes *request,
                                                                const evener_call_options *options,
                                                                evener_bytes *response, evener_status *status)
{
    hedged h = {.response = response, .status = status, .word = WAITING};
    evener_status refusal; /* not `status`, which the callback may have filled already */
    const evener_status_code code =
        evener_call_start_plainly(channel, method, request, options, NULL, hedged_ended, &h, NULL, &refusal);
    if (code != EVENER_STATUS_OK) {
        return evener_status_set(status, code, "%s", refusal.message);
    }
    while ((__atomic_load_n(&h.word, __ATOMIC_ACQUIRE) & ~EVENER_WAIT_BITS) == WAITING) {
        evener_wait_word_sleep(&h.word, WAITING, UINT64_MAX);
    }
    return h.code;
}

static evener_status_code call_plainly(evener_channel *channel, const char *method, const evener_bytes *request,
                                       const evener_call_options *options, evener_bytes *response,
                                       evener_status *status)
{
    evener_rpc rpc;
    evener_rpc_init(&rpc, channel, method, options);
    evener_status own_status;
    status = status != NULL ? status : &own_status;
    unary u = {.rpc = &rpc, .details = options->details, .response = response, .status = status};
    if (rpc.policy.kind != EVENER_CALL_POLICY_NONE) {
        /* On the control thread a delay would hold up what it waits for. */
        if (evener_hedge_is_wanted(&rpc) && !evener_rpc_waits_for_itself(&rpc)) {
            return call_hedged(channel, method, request, options, response, status);
        }
        u.is_committed =
            (request != NULL && request->length > EVENER_RETRY_BUFFER_BYTES) || evener_rpc_waits_for_itself(&rpc);
    }
    const evener_status_code admitted = evener_rpc_admit(&rpc, status);
    if (admitted != EVENER_STATUS_OK) {
        return admitted;
    }
    evener_details_begin(u.details, 0);
    const size_t call_bytes = evener_rpc_call_bytes(rpc.calls);
    if (call_bytes <= STACK_CALL_BYTES_MAX) {
        _Alignas(64) char memory[STACK_CALL_BYTES_MAX];
        memset(memory, 0, call_bytes);
        u.call = (evener_transport_call *)(void *)memory;
        const evener_status_code result = run(&u, request);
        evener_rpc_report(&rpc, result);
        evener_retry_clear(&rpc);
        return result;
    }
    u.call = evener_cache_aligned_calloc(call_bytes);
    const evener_status_code result = u.call != NULL ? run(&u, request)
                                                     : evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED,
                                                                         "call of %s: out of memory", method);
    evener_rpc_report(&rpc, result);
    evener_retry_clear(&rpc);
    free(u.call);
    return result;
}

/* ---- interceptors ---- */

/* Wait for metadata that comes later, and put it and the time that is left into the options. */
static evener_status_code wait_for_metadata(evener_channel *channel, const char *method, evener_late *late,
                                            evener_call_options *options, evener_status *status)
{
    evener_rpc rpc; /* for the deadline, which a service config may bound */
    evener_rpc_init(&rpc, channel, method, options);
    evener_details_begin(options->details, 0);
    if (evener_rpc_waits_for_itself(&rpc) && !evener_late_is_ready(late)) {
        return evener_status_set(
            status, EVENER_STATUS_FAILED_PRECONDITION,
            "metadata of the call comes later, and waiting for it on the control thread would wait "
            "for itself: use evener_call_start()");
    }
    if (!evener_late_wait(late, rpc.deadline_ns)) {
        return evener_status_set(status, EVENER_STATUS_DEADLINE_EXCEEDED,
                                 "deadline exceeded after %llu.%03llu s: waiting for metadata of the call, which an "
                                 "interceptor or its credentials answer later",
                                 (unsigned long long)(rpc.timeout_ms / 1000),
                                 (unsigned long long)(rpc.timeout_ms % 1000));
    }
    if (rpc.deadline_ns != UINT64_MAX) {
        const uint64_t now_ns = evener_loop_now_ns(channel->hot.loop);
        options->timeout_ms =
            rpc.deadline_ns > now_ns ? (rpc.deadline_ns - now_ns + EVENER_NS_PER_MS - 1) / EVENER_NS_PER_MS : 1;
    }
    return evener_late_take(late, &options->metadata, &options->metadata_count, status);
}

static __attribute__((noinline)) evener_status_code call_intercepted(evener_channel *channel, const char *method,
                                                                     const evener_bytes *request,
                                                                     const evener_call_options *given,
                                                                     evener_bytes *response, evener_status *status)
{
    evener_call_options copy = *given;
    evener_call_options *options = &copy;
    evener_interception *interception;
    evener_call_details own_details = {.size = sizeof own_details};
    evener_bytes own_response = {0};
    evener_status own_status;
    status = status != NULL ? status : &own_status;
    evener_status_code code = evener_interception_begin(channel, method, false, options, &interception, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    evener_late *late = evener_interception_late(interception);
    if (late != NULL && (code = wait_for_metadata(channel, method, late, options, status)) != EVENER_STATUS_OK) {
        evener_interception_end(interception, status, NULL);
        return code;
    }
    static const evener_bytes nothing = {.data = (const uint8_t *)"", .length = 0};
    evener_interception_message(interception, true, request != NULL ? request : &nothing);
    if (options->details == NULL && evener_interception_wants_headers(interception)) {
        options->details = &own_details;
    }
    evener_bytes *received = response != NULL ? response : &own_response;
    code = call_plainly(channel, method, request, options, received, status);
    if (options->details != NULL && options->details->initial_metadata_count > 0) {
        evener_interception_headers(interception, options->details->initial_metadata,
                                    options->details->initial_metadata_count);
    }
    if (code == EVENER_STATUS_OK) {
        evener_interception_message(interception, false, received);
    }
    evener_interception_end(interception, status, options->details);
    evener_call_details_clear(&own_details);
    evener_bytes_clear(&own_response);
    return code;
}

evener_status_code evener_unary_call(evener_channel *channel, const char *method, const evener_bytes *request,
                                     const evener_call_options *given, evener_bytes *response, evener_status *status)
{
    EVENER_UNCANCELLED;
    evener_call_options options;
    const evener_status_code code = evener_rpc_check(channel, method, given, &options, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    return evener_is_intercepted(channel, &options)
               ? call_intercepted(channel, method, request, &options, response, status)
               : call_plainly(channel, method, request, &options, response, status);
}
