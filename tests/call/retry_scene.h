/* One call with a service config over the simulated transport: a script of outcomes, and what each attempt saw.
 *
 *     retry_scene *s = retry_scene_create(RETRY_CONFIG("4"), outcomes, 2);
 *     retry_scene_start(s, 1000);
 *     virtual_loop_advance_ms(s->f->loop, 500);
 *     cr_expect_eq(s->attempts, 2);
 *     retry_scene_destroy(s); */
#ifndef EVENER_TESTS_CALL_RETRY_SCENE_H
#define EVENER_TESTS_CALL_RETRY_SCENE_H

#include <evener/evener.h>

#include "tests/support/channel_fixture.h"

#define SCENE_METHOD "/sim.Sim/Run"
#define SCENE_BACKENDS "127.0.0.1:1,127.0.0.1:2,127.0.0.1:3"
#define SCENE_ATTEMPTS 32

/* Backoffs of 100, 200, 400, 400... ms, 20 % more or less. */
#define RETRY_FIELDS(attempts)                                                                                         \
    "\"retryPolicy\": {\"maxAttempts\": " attempts ", \"initialBackoff\": \"0.1s\", \"maxBackoff\": \"0.4s\", "        \
    "\"backoffMultiplier\": 2, \"retryableStatusCodes\": [\"UNAVAILABLE\", \"ABORTED\"]}"
#define RETRY_CONFIG(attempts) "{\"methodConfig\": [{\"name\": [{}], " RETRY_FIELDS(attempts) "}]}"

typedef struct scene_attempt {
    char address[32];
    uint64_t at_ms; /* since the start of the call */
    uint32_t previous_attempts;
    uint64_t timeout_ms; /* of the attempt; 0: none */
} scene_attempt;

typedef struct retry_scene {
    fixture *f;
    fake_call_outcome outcomes[SCENE_ATTEMPTS]; /* of the first, the second... attempt; the last one repeats */
    size_t outcome_count;
    const char *bad_address; /* answers UNAVAILABLE, whatever the script says; or NULL */
    uint32_t attempts, executions, ends;
    scene_attempt seen[SCENE_ATTEMPTS];
    char authorization[32]; /* metadata of the latest attempt; "": it had none */
    uint64_t started_ns, ended_ms;
    evener_status status;
    evener_call_details details;
    evener_call *call;
    evener_bytes request; /* "hello", unless a test sets another one */
} retry_scene;

/* Create a channel with round_robin and this default service config, connected to three backends. */
retry_scene *retry_scene_create(const char *config, const fake_call_outcome *outcomes, size_t count);
retry_scene *retry_scene_create_with(evener_channel_options options, const char *config,
                                     const fake_call_outcome *outcomes, size_t count);
/* Free everything. Asserts that no attempt is under way. */
void retry_scene_destroy(retry_scene *s);

/* The callback of calls that a test starts itself; `arg` is the scene. */
void retry_scene_ended(void *arg, const evener_status *status, evener_bytes *response);

/* Start the call; what an earlier one saw is forgotten. Asserts that it starts. */
void retry_scene_start(retry_scene *s, uint64_t timeout_ms);
/* Run until a call that was started has ended, but at most `ms`. */
void retry_scene_finish(retry_scene *s, uint64_t ms);

#endif
