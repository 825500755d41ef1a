/* Picker: an immutable snapshot that chooses a subchannel for one call.
 *
 * A policy publishes one with every change (evener_policy_publish()). Any number of threads pick from it at once, while
 * the control thread makes the next. pick() must not lock, allocate, wait or make a system call; what it counts, it
 * counts by lane (evener/lane.h).
 *
 * Outcomes:  complete  pick->subchannel is set: the call goes there
 *            queue     no backend now: the pick waits for the next picker
 *            fail      ends a call that is not wait-for-ready with the status; others wait
 *            drop      ends every call with the status
 */
#ifndef EVENER_PICKER_H
#define EVENER_PICKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/lane.h>
#include <evener/loop.h>
#include <evener/status.h>
#include <evener/subchannel.h>

EVENER_BEGIN_DECLS

typedef struct evener_picker evener_picker;
typedef struct evener_pick evener_pick;
typedef struct evener_connection evener_connection; /* the transport's */

typedef enum evener_pick_outcome {
    EVENER_PICK_COMPLETE = 0,
    EVENER_PICK_QUEUE = 1,
    EVENER_PICK_FAIL = 2,
    EVENER_PICK_DROP = 3
} evener_pick_outcome;

/* A header (name, value) of a call. */
typedef struct evener_metadata {
    const char *key;
    const char *value;
    size_t value_bytes;
} evener_metadata;

/* Trace of a pick: reports what the policy compared. The functions are called inside the pick, on its thread, and must
 * neither block nor call evener. Strings are borrowed for the call. NULL functions are not called. */
typedef struct evener_pick_trace {
    size_t size; /* sizeof(evener_pick_trace) */
    void *arg;
    /* Report a backend that was compared with others. `load` is in the policy's own unit; lower is better. `note` says
     * more ("probe") or is NULL. */
    void (*candidate)(void *arg, const char *address, double load, const char *note);
    /* Report the reason for the choice: "lower load", "force pick". */
    void (*reason)(void *arg, const char *reason);
} evener_pick_trace;

/* What is known of the call. Borrowed for the pick. */
typedef struct evener_pick_args {
    size_t size;        /* sizeof(evener_pick_args) */
    const char *method; /* "/pkg.Service/Method"; or NULL */
    const evener_metadata *metadata;
    size_t metadata_count;
    uint64_t hash; /* for policies that hash (ring_hash); used when has_hash */
    bool has_hash;
    bool wait_for_ready;            /* `fail` does not end the call: it waits (grpc: doc/wait-for-ready.md) */
    uint64_t timeout_ms;            /* how long a queued pick waits; 0: no limit */
    const evener_pick_trace *trace; /* or NULL */
    /* The call is a stream (client-streaming, server-streaming or bidirectional); false: unary. An open stream is never
     * taken for a hung call, and is compared with other streams only. */
    bool streaming;
    /* Addresses (as evener_subchannel_address_text()) of the backends at which earlier attempts of the call failed or
     * are under way. A picker avoids them while another backend is READY: see evener_pick_avoids(). Borrowed until the
     * pick has ended. */
    const char *const *tried;
    size_t tried_count;
} evener_pick_args;

/* What a picker is called with. */
typedef struct evener_pick_context {
    const evener_pick_args *args; /* never NULL */
    evener_loop *loop;     /* only now_ns and now_fast_ns may be called here; and post, by a picker that connects on
                                     demand, before it answers QUEUE */
    evener_status *status; /* to be filled with FAIL and DROP; may be NULL: evener_status_set() allows that */
    uint32_t lane;         /* the calling thread's */
} evener_pick_context;

/* For pickers: report to the trace of the pick, if it has one. */
static inline bool evener_pick_is_traced(const evener_pick_context *context)
{
    return __builtin_expect(context->args->trace != NULL, 0);
}
static inline void evener_pick_trace_candidate(const evener_pick_context *context, const evener_subchannel *candidate,
                                               double load, const char *note)
{
    const evener_pick_trace *trace = context->args->trace;
    if (trace != NULL && trace->candidate != NULL) {
        trace->candidate(trace->arg, evener_subchannel_address_text(candidate), load, note);
    }
}
static inline void evener_pick_trace_reason(const evener_pick_context *context, const char *reason)
{
    const evener_pick_trace *trace = context->args->trace;
    if (trace != NULL && trace->reason != NULL) {
        trace->reason(trace->arg, reason);
    }
}

/* For pickers: return whether the call is to avoid this backend, as it was tried already. A picker that has chosen such
 * a backend takes another one, in two lines:
 *
 *     if (evener_pick_avoids(context, chosen))
 *         chosen = evener_pick_other(context, chosen, subchannels, count, start);
 *
 * or does so by its own rules. Costs one comparison for calls that were not tried before. */
EVENER_API bool evener_pick_is_tried(const evener_pick_context *context, const evener_subchannel *subchannel);
static inline bool evener_pick_avoids(const evener_pick_context *context, const evener_subchannel *subchannel)
{
    return __builtin_expect(context->args->tried_count != 0, 0) && evener_pick_is_tried(context, subchannel);
}

/* For pickers: return the first of the READY backends that the call was not tried at, from index `start` (modulo
 * `count`) on; `chosen` if it was tried at all of them. Only inside pick(). */
EVENER_API evener_subchannel *evener_pick_other(const evener_pick_context *context, evener_subchannel *chosen,
                                                evener_subchannel *const *subchannels, size_t count, size_t start);

/* How a call ended. */
typedef struct evener_done_info {
    size_t size; /* sizeof(evener_done_info) */
    evener_status_code code;
    bool not_sent; /* certainly never left this process: says nothing about the backend's health or latency */
    /* A58: the backend's load report (ORCA, from the trailer `endpoint-load-metrics-bin`), undecoded; or NULL */
    const void *load_report;
    size_t load_report_bytes;
    /* For evener_call_done(), which derives `not_sent` from them; borrowed. The text that the gRPC core stored
     * through `error_string` of GRPC_OP_RECV_STATUS_ON_CLIENT (NULL: not known, and then nothing is taken for unsent),
     * and whether anything of an answer arrived: initial metadata, a message or trailing metadata. */
    const char *error_string;
    bool answered;
    /* When the first message of a stream came, on the clock of evener_loop_now_ns(): it counts as the stream's
     * response. 0: none came, or not known; and always with a unary call. */
    uint64_t first_message_ns;
    bool streaming; /* as in the pick's evener_pick_args */
} evener_done_info;

#define EVENER_PICK_LAYERS_MAX 4

/* One policy's part in a pick: called back when the call is done. */
typedef struct evener_pick_layer {
    void (*done)(void *data, uint64_t word, const evener_done_info *info, uint32_t lane);
    void *data;
    uint64_t word;
} evener_pick_layer;

/* One pick. Lives in the caller's memory (stack or call object) and needs no initialisation; after COMPLETE it is ended
 * with evener_pick_done(), exactly once, on any thread. */
struct evener_pick {
    evener_subchannel *subchannel;
    evener_connection *connection; /* the transport's connection of the subchannel, valid until done */
    evener_subchannel *users;      /* the channel's own: counts the picks on `connection` */
    uint32_t layer_count;          /* while pickers choose; then the channel's own */
    evener_pick_layer layers[EVENER_PICK_LAYERS_MAX];
};

/* Reserve this policy's layer of the pick: `done(data, word, info, lane)` will be called when the call ends, on the
 * thread that ends it, the innermost policy's first; info is never NULL. The word is 0: the picker may set it until it
 * answers, as when it starts to count only once it has the layer. `data` must live as long as the subchannel's memory
 * does (evener_subchannel_data()). NULL: EVENER_PICK_LAYERS_MAX policies have one already: then nothing is
 * called. Only inside pick(), under its rules. */
static inline evener_pick_layer *evener_pick_add_layer(
    evener_pick *pick, void (*done)(void *data, uint64_t word, const evener_done_info *info, uint32_t lane), void *data)
{
    if (__builtin_expect(pick->layer_count >= EVENER_PICK_LAYERS_MAX, 0)) {
        return NULL;
    }
    evener_pick_layer *layer = &pick->layers[pick->layer_count++];
    layer->done = done;
    layer->data = data;
    layer->word = 0;
    return layer;
}

/* Reserve a layer whose word is known at once. False: there is no layer left. */
static inline bool evener_pick_on_done(evener_pick *pick,
                                       void (*done)(void *data, uint64_t word, const evener_done_info *info,
                                                    uint32_t lane),
                                       void *data, uint64_t word)
{
    if (pick->layer_count >= EVENER_PICK_LAYERS_MAX) {
        return false;
    }
    evener_pick_layer *layer = &pick->layers[pick->layer_count++];
    layer->done = done;
    layer->data = data;
    layer->word = word;
    return true;
}

/* Take back what the pickers inside have counted: their `done` is called with not_sent. For a picker that wraps another
 * and does not want the backend that it chose; it may then let it pick again, or answer QUEUE, FAIL or DROP. Only
 * inside pick(), before the wrapper's own layer is added. */
EVENER_API void evener_pick_undo(evener_pick *pick, uint32_t lane);

typedef struct evener_picker_vtable {
    size_t size; /* sizeof(evener_picker_vtable) */
    /* Choose. With COMPLETE set pick->subchannel; with FAIL or DROP fill context->status. Any thread, several at
     * once, under RCU: must not lock, allocate or wait, and may call only what context and subchannel allow. */
    evener_pick_outcome (*pick)(evener_picker *picker, const evener_pick_context *context, evener_pick *pick);
    /* Free the picker and give back the references it holds. Control thread, when no reader can see it. */
    void (*destroy)(evener_picker *picker);
} evener_picker_vtable;

/* Embedded first in every picker. */
struct evener_picker {
    const evener_picker_vtable *vtable;
    uint32_t references; /* changed by ref and unref only */
};

/* Initialise a picker with one reference. */
static inline void evener_picker_init(evener_picker *picker, const evener_picker_vtable *vtable)
{
    picker->vtable = vtable;
    picker->references = 1;
}

/* Return memory for a picker of `bytes` bytes, aligned for what it has per lane; not zeroed. NULL: out of memory.
 * Freed with free(), by the picker's destroy. Any thread. */
EVENER_API void *evener_picker_alloc(size_t bytes);

/* Take or give back a reference. A wrapper holds one to its child's picker for as long as its own picker lives. NULL is
 * allowed for unref. Control thread. */
EVENER_API evener_picker *evener_picker_ref(evener_picker *picker);
EVENER_API void evener_picker_unref(evener_picker *picker);

/* Create a picker with a constant outcome. `status` is copied. NULL: out of memory. Control thread. */
EVENER_API evener_picker *evener_picker_create_queue(void);
EVENER_API evener_picker *evener_picker_create_fail(const evener_status *status);
EVENER_API evener_picker *evener_picker_create_drop(const evener_status *status);

EVENER_END_DECLS

#endif
