/* Runtime: the control thread and what channels share.
 *
 * Most programs never see it: channels that name no runtime share the process-wide default, made with the first of
 * them and gone with the last. A program makes its own to keep groups of channels apart, or to run everything on a
 * virtual loop. */
#ifndef EVENER_RUNTIME_H
#define EVENER_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#include <evener/loop.h>
#include <evener/status.h>

EVENER_BEGIN_DECLS

typedef struct evener_runtime evener_runtime;

typedef struct evener_runtime_options {
    size_t size;             /* sizeof(evener_runtime_options) */
    evener_loop *loop;       /* NULL (default): libuv on a control thread of its own. Else everything runs on this loop,
                               which the caller drives and which must outlive the runtime */
    uint64_t random_seed;    /* 0 (default): from the system; ignored when `loop` is given */
    const char *thread_name; /* NULL (default): "evener"; at most 15 characters are used */
} evener_runtime_options;

/* Makes a runtime and, without `options->loop`, starts its control thread. `options` may be NULL. On success stores a
 * reference in *runtime. Errors: INVALID_ARGUMENT (no options->size), RESOURCE_EXHAUSTED, INTERNAL (a thread or the
 * loop did not start). Any thread. */
EVENER_API evener_status_code evener_runtime_create(const evener_runtime_options *options, evener_runtime **runtime,
                                                    evener_status *status);

/* A reference to the process-wide default, made on first use and gone with its last reference. Errors and thread as
 * evener_runtime_create(). */
EVENER_API evener_status_code evener_runtime_default(evener_runtime **runtime, evener_status *status);

EVENER_API evener_runtime *evener_runtime_ref(evener_runtime *runtime);

/* Gives a reference back; NULL is allowed. Channels hold references of their own until they have closed and their last
 * call has ended. The last one stops the control thread and joins it before this returns; given back on one of the
 * runtime's own threads it cannot wait for itself, and the end comes shortly after.
 * On a loop of the caller's the end comes at once on the control thread if nothing is under way, else in tasks posted
 * there. Either way an attempt of the gRPC transport to connect that is under way is waited for, 50 ms at most. Any
 * thread. */
EVENER_API void evener_runtime_unref(evener_runtime *runtime);

/* Tells that the calling thread belongs to the runtime: a shared object (below) made it and joins it in its destroy. So
 * the last reference, given back on it, does not wait for the end of that very thread. With NULL the thread belongs to
 * no runtime any more. */
EVENER_API void evener_runtime_adopt_thread(evener_runtime *runtime);

EVENER_API evener_loop *evener_runtime_loop(evener_runtime *runtime);

/* Runs `fn(arg)` on the control thread and returns when it has run; at once when called there, or when the runtime is
 * driven by a loop of the caller's. Any thread, but never while holding a lock that control-thread code takes. */
EVENER_API void evener_runtime_call(evener_runtime *runtime, evener_task_fn fn, void *arg);

/* One object a runtime for a kind of plug-in, shared by all its channels (a DNS cache, a completion queue).
 * The key's address is the identity: make it a static const. */
typedef struct evener_shared_key {
    const char *name; /* for logs */
    /* Makes the object; NULL and a filled status on failure. */
    void *(*create)(evener_runtime *runtime, evener_status *status);
    /* Ends it, when the runtime ends: on the control thread, after all channels have closed. */
    void (*destroy)(void *object);
} evener_shared_key;

/* The runtime's object of that key, made on first use; NULL with a filled status when that failed (the next use tries
 * again). It lives as long as the runtime. Control thread. */
EVENER_API void *evener_runtime_shared(evener_runtime *runtime, const evener_shared_key *key, evener_status *status);

EVENER_END_DECLS

#endif
