/* Asynchronous unary calls.
 *
 * A call object goes round this ring, with one owner at each moment (whoever runs the step), until it finishes:
 *
 *   pick ──COMPLETE──▶ attempt ──batch done──▶ finish: callback, the object's own reference goes
 *    │ ▲ ▲                │
 *    │ │ └─control thread─┤ no connection took it: at once for the first attempts, then after a pause on the control
 *    │ └────pause─────────┘ thread's timer
 *    └─QUEUE─▶ the channel calls back on the control thread with the pick, or with the reason to finish
 *
 * Only cancelling comes from outside: the mutex makes `call` and the queued pick safe to reach from there. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/grpc.h>

#include <evener/call.h>

#include "lb/base/memory.h"
#include "lb/call/grpc/bytes.h"
#include "lb/call/grpc/details.h"
#include "lb/call/grpc/rpc.h"

/* Where the queued pick is. */
typedef enum pick_state {
    PICK_NONE = 0,   /* not under way */
    PICK_ASKED = 1,  /* evener_channel_pick_async() has not returned */
    PICK_QUEUED = 2, /* the channel's callback will come */
} pick_state;

struct evener_call {
    evener_grpc_tag tag;
    _Atomic uint32_t references;
    evener_channel *channel; /* a reference */
    evener_grpc_rpc rpc;
    evener_grpc_attempt attempt;
    grpc_slice request;
    evener_call_callback callback;
    void *arg;
    evener_call_details *details;
    evener_pick_request pick_request;
    evener_task pause_task;
    evener_timer pause_timer;

    pthread_mutex_t mutex;
    bool cancelled;      /* under mutex */
    bool finished;       /* under mutex: there is no call of the core, or it is going */
    pick_state picking;  /* under mutex */
    uint32_t pick_round; /* under mutex: tells one queued pick from the next */

    evener_metadata metadata[]; /* the caller's, copied: for pickers; then the same as slices, then the texts */
};

static void call_pick(evener_call *call);

/* ---- life ---- */

/* Memory for the copied metadata: entries for pickers, entries for the core, texts with a NUL each. */
static size_t metadata_memory(const evener_metadata *metadata, size_t count)
{
    size_t bytes = count * (sizeof(evener_metadata) + sizeof(grpc_metadata));
    for (size_t i = 0; i < count; i++) {
        bytes += strlen(metadata[i].key) + metadata[i].value_bytes + 2;
    }
    return bytes;
}

static const char *put(char **at, const char *text, size_t bytes)
{
    char *copy = *at;
    memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    *at += bytes + 1;
    return copy;
}

/* The slices point into the call's own memory, which outlives its batches. */
static void copy_metadata(evener_call *call, const evener_metadata *metadata, size_t count)
{
    grpc_metadata *slices = (grpc_metadata *)(void *)(call->metadata + count);
    char *texts = (char *)(slices + count);
    for (size_t i = 0; i < count; i++) {
        evener_metadata *copy = &call->metadata[i];
        copy->key = put(&texts, metadata[i].key, strlen(metadata[i].key));
        copy->value = put(&texts, metadata[i].value, metadata[i].value_bytes);
        copy->value_bytes = metadata[i].value_bytes;
        slices[i].key = grpc_slice_from_static_string(copy->key);
        slices[i].value = grpc_slice_from_static_buffer(copy->value, copy->value_bytes);
    }
    call->rpc.pick_args.metadata = call->metadata;
    call->rpc.metadata = slices;
    call->rpc.metadata_count = count;
}

evener_call *evener_call_ref(evener_call *call)
{
    atomic_fetch_add_explicit(&call->references, 1, memory_order_relaxed);
    return call;
}

void evener_call_unref(evener_call *call)
{
    /* acq_rel: the last one sees what the others did. */
    if (call == NULL || atomic_fetch_sub_explicit(&call->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    evener_grpc_rpc_clear(&call->rpc);
    grpc_slice_unref(call->request);
    pthread_mutex_destroy(&call->mutex);
    free(call);
}

/* The object's own reference goes, and its channel with it: from here on only the caller's handle is left. */
static void release(evener_call *call)
{
    evener_channel *channel = call->channel;
    evener_call_unref(call);
    evener_channel_unref(channel);
}

/* ---- the end ---- */

static void call_back(evener_call *call, const evener_status *status, evener_bytes *response)
{
    call->callback(call->arg, status, response);
    evener_bytes_clear(response);
    release(call);
}

static void finish_without_backend(evener_call *call, const evener_status *status)
{
    evener_bytes nothing = {0};
    if (call->details != NULL) {
        evener_grpc_details_fill_unsent(call->details, call->rpc.attempts);
    }
    call_back(call, status, &nothing);
}

static void finish(evener_call *call)
{
    evener_status status;
    evener_bytes response = {0};
    evener_grpc_attempt_finish(&call->attempt, &call->rpc, call->details, &response, &status);
    call_back(call, &status, &response);
}

/* ---- an attempt ---- */

static void pause_is_over(void *arg)
{
    call_pick(arg);
}

static void pause_on_control_thread(void *arg)
{
    evener_call *call = arg;
    evener_timer_start(evener_runtime_loop(evener_channel_runtime(call->channel)), &call->pause_timer,
                       evener_grpc_rpc_pause_ns(&call->rpc));
}

static void pause_later(evener_call *call)
{
    evener_loop_post(evener_runtime_loop(evener_channel_runtime(call->channel)), &call->pause_task);
}

/* The attempt came to nothing: another one, at once or after a pause. */
static void again(evener_call *call)
{
    if (evener_grpc_rpc_pause_ns(&call->rpc) == 0) {
        call_pick(call);
    } else {
        pause_later(call);
    }
}

static void batch_done(evener_grpc_tag *tag, bool ok)
{
    (void)ok; /* with a status in the batch always true */
    evener_call *call = EVENER_CONTAINER_OF(tag, evener_call, tag);
    pthread_mutex_lock(&call->mutex);
    call->finished = true; /* evener_call_cancel() must not meet a call of the core that is being freed */
    pthread_mutex_unlock(&call->mutex);
    if (evener_grpc_attempt_pick_again(&call->attempt)) {
        again(call);
    } else {
        finish(call);
    }
}

/* Starts an attempt on the pick. Returns not OK when the call cannot go on: the pick is ended then. */
static evener_status_code attempt(evener_call *call, evener_status *status)
{
    evener_grpc_engine *engine = call->attempt.pick.connection->engine;
    evener_grpc_call_threads *threads = engine->call_threads;
    evener_status_code code = evener_grpc_call_threads_take(
        threads, atomic_load_explicit(&engine->connections, memory_order_relaxed), status);
    if (code != EVENER_STATUS_OK) {
        evener_grpc_attempt_drop(&call->attempt);
        return code;
    }
    if (!evener_grpc_attempt_begin(&call->attempt, &call->rpc, evener_grpc_call_threads_queue(threads))) {
        evener_grpc_call_threads_drop(threads);
        /* Not from here: this may be evener_call_start(), which must not call back. */
        pause_later(call);
        return EVENER_STATUS_OK;
    }
    pthread_mutex_lock(&call->mutex);
    call->finished = false;
    if (call->cancelled) {
        grpc_call_cancel(call->attempt.call, NULL);
    }
    pthread_mutex_unlock(&call->mutex);
    code = evener_grpc_attempt_start_unary(&call->attempt, &call->rpc, call->request, &call->tag, status);
    if (code != EVENER_STATUS_OK) {
        evener_grpc_call_threads_drop(threads);
        pthread_mutex_lock(&call->mutex);
        call->finished = true;
        pthread_mutex_unlock(&call->mutex);
        evener_grpc_attempt_drop(&call->attempt);
    }
    return code;
}

/* ---- the pick ---- */

static void pick_settled(void *arg, evener_status_code code, const evener_status *status)
{
    evener_call *call = arg;
    pthread_mutex_lock(&call->mutex);
    call->picking = PICK_NONE;
    pthread_mutex_unlock(&call->mutex);
    evener_status failure;
    if (code == EVENER_STATUS_OK && attempt(call, &failure) == EVENER_STATUS_OK) {
        return;
    }
    finish_without_backend(call, code == EVENER_STATUS_OK ? &failure : status);
}

/* Asks for a pick. OK: under way, in whatever way, and `call` belongs to others. */
static evener_status_code call_try(evener_call *call, evener_status *status)
{
    if (!evener_grpc_rpc_pick_time(&call->rpc)) {
        return evener_grpc_rpc_deadline_status(&call->rpc, status);
    }
    pthread_mutex_lock(&call->mutex);
    bool cancelled = call->cancelled;
    call->picking = cancelled ? PICK_NONE : PICK_ASKED;
    uint32_t round = ++call->pick_round;
    pthread_mutex_unlock(&call->mutex);
    if (cancelled) {
        return evener_status_set(status, EVENER_STATUS_CANCELLED, "the call was cancelled");
    }
    call->pick_request = (evener_pick_request){
        .size = sizeof call->pick_request, .pick = &call->attempt.pick, .callback = pick_settled, .arg = call};
    evener_call_ref(call); /* after QUEUE the callback may end the call before we have looked at it again */
    switch (evener_channel_pick_async(call->channel, &call->rpc.pick_args, &call->pick_request, status)) {
    case EVENER_PICK_COMPLETE:
        pthread_mutex_lock(&call->mutex);
        call->picking = PICK_NONE;
        pthread_mutex_unlock(&call->mutex);
        break;
    case EVENER_PICK_QUEUE:
        pthread_mutex_lock(&call->mutex);
        if (call->picking == PICK_ASKED && call->pick_round == round) {
            call->picking = PICK_QUEUED;
            if (call->cancelled) {
                evener_pick_request_cancel(&call->pick_request);
            }
        }
        pthread_mutex_unlock(&call->mutex);
        evener_call_unref(call);
        return EVENER_STATUS_OK;
    default:
        evener_call_unref(call);
        return status->code;
    }
    evener_status_code code = attempt(call, status);
    evener_call_unref(call);
    return code;
}

static void call_pick(evener_call *call)
{
    evener_status status;
    if (call_try(call, &status) != EVENER_STATUS_OK) {
        finish_without_backend(call, &status);
    }
}

/* ---- the public side ---- */

void evener_call_cancel(evener_call *call)
{
    pthread_mutex_lock(&call->mutex);
    call->cancelled = true;
    if (call->picking == PICK_QUEUED) {
        evener_pick_request_cancel(&call->pick_request);
    } else if (!call->finished) {
        grpc_call_cancel(call->attempt.call, NULL);
    }
    pthread_mutex_unlock(&call->mutex);
}

evener_status_code evener_call_start(evener_channel *channel, const char *method, const evener_bytes *request,
                                     const evener_call_options *given, evener_call_callback callback, void *arg,
                                     evener_call **call, evener_status *status)
{
    evener_call_options options;
    evener_status found;
    evener_status_code code = evener_grpc_rpc_check(channel, method, given, &options, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    if (callback == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "call of %s: the callback is NULL", method);
    }
    size_t metadata_count = options.metadata_count;
    size_t metadata_bytes = metadata_count == 0 ? 0 : metadata_memory(options.metadata, metadata_count);
    evener_call *made = calloc(1, sizeof *made + metadata_bytes);
    if (made == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "call of %s: out of memory", method);
    }
    made->tag.done = batch_done;
    atomic_init(&made->references, 2);
    made->channel = evener_channel_ref(channel);
    evener_grpc_rpc_init(&made->rpc, channel, method, &options);
    if (metadata_count > 0) {
        copy_metadata(made, options.metadata, metadata_count);
    }
    made->request = evener_grpc_bytes_to_slice(request);
    made->callback = callback;
    made->arg = arg;
    made->details = options.details;
    made->pause_task = (evener_task)EVENER_TASK_INIT(pause_on_control_thread, made);
    made->pause_timer = (evener_timer)EVENER_TIMER_INIT(pause_is_over, made);
    pthread_mutex_init(&made->mutex, NULL);
    made->finished = true;

    code = call_try(made, &found);
    if (code != EVENER_STATUS_OK) {
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
