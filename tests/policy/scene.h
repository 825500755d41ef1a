/* Scene: four backends on the virtual loop, and calls at random times that take as long as the test says.
 *
 *     scene *s = scene_open("p2c_ewma", NULL, NULL, 1);
 *     s->backends[0] = (scene_backend){200, EVENER_STATUS_UNKNOWN};
 *     scene_run(s, 1000, 20);
 *     cr_assert_lt(scene_share(s, 0), 0.05);
 *     scene_close(s);
 */
#ifndef EVENER_TESTS_POLICY_SCENE_H
#define EVENER_TESTS_POLICY_SCENE_H

#include "tests/support/policy_harness.h"

#define SCENE_BACKENDS 4
#define SCENE_CALLS_MAX 2048
#define SCENE_USUAL_US 20000
#define SCENE_NEVER UINT64_MAX

typedef struct scene_backend {
    uint64_t answer_us; /* SCENE_NEVER: it hangs */
    evener_status_code code;
} scene_backend;

typedef struct scene_call {
    evener_pick pick;
    uint64_t end_ns;
    evener_status_code code;
} scene_call;

typedef struct scene {
    policy_harness *h;
    uint64_t random;
    scene_backend backends[SCENE_BACKENDS];
    bool varied;          /* answers take exponential times, `answer_us` on the mean */
    uint64_t patience_us; /* callers cancel after this time; 0: they wait */
    scene_call calls[SCENE_CALLS_MAX];
    size_t call_count;
    size_t picks[SCENE_BACKENDS]; /* of the last scene_run() */
    evener_pick streams[SCENE_CALLS_MAX];
    size_t stream_count;
} scene;

extern const evener_pick_args scene_stream_args;

/* Open the one scene of a process. `list` as of harness_update(), at most SCENE_BACKENDS; NULL: that many equal ones.
 * Each seed gives other random numbers, to the policy as well. */
scene *scene_open(const char *policy, const char *config, const char *list, uint64_t seed);
void scene_close(scene *s);

/* Make calls at random times for some seconds, and count the picks per backend anew. */
void scene_run(scene *s, double rate_per_s, double seconds);

/* Let the calls under way end. */
void scene_drain(scene *s);

/* Open streams until each of `backends` from `first` on has `count`; those that go elsewhere are not sent. */
void scene_open_streams(scene *s, size_t first, size_t backends, size_t count);

/* Return the backend's share of the picks of the last run. */
double scene_share(const scene *s, size_t b);

/* Return one figure of the policy's description of a backend, as "ewma_us". */
double scene_described(scene *s, size_t b, const char *name);

#endif
