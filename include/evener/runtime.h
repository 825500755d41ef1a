/* Runtime: the control thread, and the objects that channels share.
 *
 * Most programs need none of their own: channels without a runtime share the process-wide default, which is created
 * with the first and ends with the last of them. A program creates one to separate groups of channels, or to run
 * everything on a virtual loop.
 *
 * fork(): the parent notices nothing. In the child, runtimes, channels, streams, factories and manual resolvers from
 * before the fork answer FAILED_PRECONDITION at once, or do nothing if they return nothing, and are never freed. New
 * ones work; docs/in-your-process.md has the details and what the gRPC C core restricts. evener/fork.h is for programs
 * that want evener at rest while they fork. */
#ifndef EVENER_RUNTIME_H
#define EVENER_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#include <evener/loop.h>
#include <evener/status.h>

EVENER_BEGIN_DECLS

typedef struct evener_runtime evener_runtime;

typedef struct evener_runtime_options {
    size_t size; /* sizeof(evener_runtime_options) */
    /* NULL (default): libuv on a control thread of its own. Otherwise everything runs on this loop, which the caller
     * drives and which must outlive the runtime. It need not be libuv's: see `uv` in evener/loop.h. */
    evener_loop *loop;
    uint64_t random_seed;    /* 0 (default): from the system; ignored when `loop` is given */
    const char *thread_name; /* NULL (default): "evener"; at most 15 characters are used */
} evener_runtime_options;

/* Create a runtime and, without `options->loop`, start its control thread. `options` may be NULL. On success store a
 * reference in *runtime. Errors: INVALID_ARGUMENT (no options->size), RESOURCE_EXHAUSTED, INTERNAL (a thread or the
 * loop did not start). Any thread. */
EVENER_API evener_status_code evener_runtime_create(const evener_runtime_options *options, evener_runtime **runtime,
                                                    evener_status *status);

/* Take a reference to the process-wide default, which is created on first use and ends with its last reference.
 * Errors and thread as evener_runtime_create(). */
EVENER_API evener_status_code evener_runtime_default(evener_runtime **runtime, evener_status *status);

EVENER_API evener_runtime *evener_runtime_ref(evener_runtime *runtime);

/* Give a reference back; NULL is allowed. Channels hold references of their own until they have closed and their last
 * call has ended. The last reference stops the control thread and joins it before this returns. On one of the
 * runtime's own threads it cannot wait, and the runtime ends shortly after. On a loop of the caller's the runtime
 * ends at once on the control thread if nothing is in flight, otherwise in tasks posted there. In all cases an
 * attempt of the gRPC transport to connect that is in flight is waited for, 50 ms at most. Any thread. */
EVENER_API void evener_runtime_unref(evener_runtime *runtime);

/* Declare that the calling thread belongs to the runtime: a shared object (below) started it and joins it in its
 * destroy. A last reference that is given back on this thread then does not wait for the thread itself. NULL: the
 * thread belongs to no runtime any more. */
EVENER_API void evener_runtime_adopt_thread(evener_runtime *runtime);

EVENER_API evener_loop *evener_runtime_loop(evener_runtime *runtime);

/* Run `fn(arg)` on the control thread and return when it has run. Called there, or with a loop of the caller's, it
 * runs at once. With a runtime from before a fork(), in the child, it does not run. Any thread, but never while holding
 * a lock that control-thread code takes. */
EVENER_API void evener_runtime_call(evener_runtime *runtime, evener_task_fn fn, void *arg);

/* Key of an object that all channels of a runtime share (a DNS cache, a completion queue). The key's address is its
 * identity: make it a static const. */
typedef struct evener_shared_key {
    const char *name; /* for logs */
    /* Create the object. Return NULL and fill the status on failure. */
    void *(*create)(evener_runtime *runtime, evener_status *status);
    /* Destroy the object at the end of the runtime, on the control thread, after all channels have closed. */
    void (*destroy)(void *object);
} evener_shared_key;

/* Return the runtime's object of that key, created on first use. NULL with a filled status on failure; the next use
 * tries again. The object lives as long as the runtime. Control thread. */
EVENER_API void *evener_runtime_shared(evener_runtime *runtime, const evener_shared_key *key, evener_status *status);

EVENER_END_DECLS

#endif
