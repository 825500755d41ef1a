/* A sink that records what a resolver pushes. */
#ifndef EVENER_TESTS_SUPPORT_RECORDING_SINK_H
#define EVENER_TESTS_SUPPORT_RECORDING_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/resolver.h>

typedef struct recording_sink {
    evener_resolver_sink base; /* pass &sink.base to the resolver */
    bool refuse;               /* set by the test: update() returns !refuse */
    size_t update_count;
    size_t error_count;
    bool last_was_error;
    /* The last update; the texts are never NULL. */
    size_t address_count;
    char *addresses; /* "10.0.0.1:80;weight=3,10.0.0.2:80", each with its attributes sorted by key */
    char *service_config;
    char *source;
    uint64_t ttl_ms;
    evener_status service_config_error; /* OK: no error */
    /* The last error. */
    evener_status error;
    /* Set by the test, or NULL: runs inside each push. */
    void (*on_push)(void *arg);
    void *on_push_arg;
} recording_sink;

void recording_sink_init(recording_sink *sink);

/* Free the texts. The caller owns `sink` itself. */
void recording_sink_clear(recording_sink *sink);

#endif
