/* The interface between the server (calls, completion queue, timers) and its methods (messages). */
#ifndef DEMO_SERVER_SERVICE_H
#define DEMO_SERVER_SERVICE_H

#include "demo_server/server.h"

typedef struct demo_call demo_call;

/* One method. Both functions run on a serving thread, one at a time per call. They answer with demo_call_reply() and
 * demo_call_finish(). If the method does not finish the call, the next message is read. */
typedef struct demo_method {
    const char *path;
    void (*message)(demo_call *call, const uint8_t *data, size_t data_bytes);
    void (*end)(demo_call *call); /* the client has closed its side; NULL: finish with OK */
    bool health;                  /* about the server: not counted, delayed or failed */
} demo_method;

/* Return the method of the path; NULL: unknown. */
const demo_method *demo_method_find(const char *path, size_t path_bytes);

/* Send a message. It is copied. */
void demo_call_reply(demo_call *call, const void *data, size_t data_bytes);

/* End the call after all replies have been sent. `message` is copied; NULL: "". Only the first call has an effect. */
void demo_call_finish(demo_call *call, grpc_status_code code, const char *message);

uint16_t demo_call_port(const demo_call *call);

/* Append to the text that a method keeps between the messages of a call. Return false on out of memory. */
bool demo_call_append_text(demo_call *call, const char *text);
const char *demo_call_text(const demo_call *call); /* initially "" */

/* Send the service's health once, or with `watch` also after every change until the call is cancelled. */
void demo_call_answer_health(demo_call *call, const char *service, bool watch);

/* Send the load report at once and after every change, until the call is cancelled. */
void demo_call_stream_load(demo_call *call);

/* Answer a question of the client's about the server's types (reflection.c). */
void demo_reflect(demo_call *call, const uint8_t *data, size_t data_bytes);

/* Send `health` as a HealthCheckResponse. */
void demo_reply_health(demo_call *call, demo_server_health health);

#endif
