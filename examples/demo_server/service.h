/* What stands between the server (calls, completion queue, timers) and its methods (messages). */
#ifndef DEMO_SERVER_SERVICE_H
#define DEMO_SERVER_SERVICE_H

#include "demo_server/server.h"

typedef struct demo_call demo_call;

/* One method. Both functions run on a serving thread, one after the other for one call; they answer by demo_call_reply()
 * and demo_call_finish(). A call that is not finished reads its next message. */
typedef struct demo_method {
    const char *path;
    void (*message)(demo_call *call, const uint8_t *data, size_t data_bytes);
    void (*end)(demo_call *call); /* the client sends no more; NULL: finishes OK */
    bool health;                  /* neither counted, delayed nor failed */
} demo_method;

/* NULL: no such method. */
const demo_method *demo_method_find(const char *path, size_t path_bytes);

/* Sends a message; copies it. */
void demo_call_reply(demo_call *call, const void *data, size_t data_bytes);

/* Ends the call when all replies have gone. `message` is copied; NULL: "". Only the first counts. */
void demo_call_finish(demo_call *call, grpc_status_code code, const char *message);

uint16_t demo_call_port(const demo_call *call);

/* Text that a method keeps from one message of a call to the next. False: out of memory. */
bool demo_call_append_text(demo_call *call, const char *text);
const char *demo_call_text(const demo_call *call); /* "" at first */

/* Answers health now, or with `watch` with every change until the call is cancelled. */
void demo_call_answer_health(demo_call *call, const char *service, bool watch);

/* Sends `health` as a HealthCheckResponse. */
void demo_reply_health(demo_call *call, demo_server_health health);

#endif
