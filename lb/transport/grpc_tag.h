/* What every operation on the engine's queues is tagged with: the queue's thread calls `done(tag, ok)`. */
#ifndef EVENER_LB_TRANSPORT_GRPC_TAG_H
#define EVENER_LB_TRANSPORT_GRPC_TAG_H

#include <stdbool.h>

typedef struct evener_grpc_tag evener_grpc_tag;
struct evener_grpc_tag {
    void (*done)(evener_grpc_tag *tag, bool ok);
};

#endif
