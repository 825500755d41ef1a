/* The tag of every operation on the engine's queues: the queue's thread calls `done(tag, ok)`. */
#ifndef EVENER_LB_TRANSPORT_GRPC_TAG_H
#define EVENER_LB_TRANSPORT_GRPC_TAG_H

#include <stdbool.h>

typedef struct evener_grpc_tag evener_grpc_tag;
struct evener_grpc_tag {
    void (*done)(evener_grpc_tag *tag, bool ok);
};

/* The core orders what happens before an operation is started with what follows its completion, but is not built for
 * ThreadSanitizer: these annotations state the order. */
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#define EVENER_GRPC_HANDS_OVER(tag) __tsan_release((void *)(tag))
#define EVENER_GRPC_TAKES_OVER(tag) __tsan_acquire((void *)(tag))
#else
#define EVENER_GRPC_HANDS_OVER(tag) ((void)0)
#define EVENER_GRPC_TAKES_OVER(tag) ((void)0)
#endif

#endif
