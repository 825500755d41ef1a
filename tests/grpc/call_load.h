/* A constant number of calls in flight, each followed by the next, and what became of them. */
#ifndef TESTS_GRPC_CALL_LOAD_H
#define TESTS_GRPC_CALL_LOAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <evener/status.h>

#define CALL_LOAD_IN_FLIGHT 16
#define CALL_LOAD_METHOD "/grpcdemo.GrpcDemo/DemoImport"
#define CALL_LOAD_TIMEOUT_MS 20000

/* End a plain program if the condition does not hold, with a message on stderr. */
#define CHECK(condition, ...)                                                                                          \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition);                                            \
            fprintf(stderr, __VA_ARGS__);                                                                              \
            fputc('\n', stderr);                                                                                       \
            _exit(1);                                                                                                  \
        }                                                                                                              \
    } while (0)

typedef struct call_load call_load;
struct call_load {
    void (*start_call)(call_load *load); /* the client's: starts one call that ends in call_load_ended() */
    void *client;
    /* under the mutex */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool stop;
    unsigned under_way;
    uint64_t ended;
    uint64_t failed;
    char failure[EVENER_STATUS_MESSAGE_BYTES + 32]; /* the last */
    uint64_t answered[65536];                       /* by port */
};

#define CALL_LOAD_INIT                                                                                                 \
    {                                                                                                                  \
        .mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER                                        \
    }

void call_load_begin(call_load *load, void (*start_call)(call_load *load), void *client);
/* Count a call that has ended and start the next. `response` is the answer of an OK call. Any thread. */
void call_load_ended(call_load *load, evener_status_code code, const char *message, const void *response, size_t bytes);
/* Wait until this number of further calls has ended. */
void call_load_wait(call_load *load, uint64_t count);
/* Wait until the server on that port has answered some more calls. */
void call_load_wait_for_answers_of(call_load *load, unsigned port);
uint64_t call_load_answered(call_load *load, unsigned port);
/* Return the failures since the last call of this function. */
uint64_t call_load_take_failures(call_load *load);
/* Let the calls in flight end. */
void call_load_stop(call_load *load);

#endif
