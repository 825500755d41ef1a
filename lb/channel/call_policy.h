/* Call policies: when calls of a method are attempted again (retries) or several times at once (hedging), and the
 * throttle that limits both (A6, client retries). Parsed from the service config; plain data. */
#ifndef EVENER_LB_CHANNEL_CALL_POLICY_H
#define EVENER_LB_CHANNEL_CALL_POLICY_H

#include <stddef.h>
#include <stdint.h>

#include <evener/status.h>

struct json_t;

/* A6: what a client attempts at most, unless its channel says otherwise. */
#define EVENER_ATTEMPTS_MAX_DEFAULT 5

typedef enum evener_call_policy_kind {
    EVENER_CALL_POLICY_NONE = 0,
    EVENER_CALL_POLICY_RETRY = 1,
    EVENER_CALL_POLICY_HEDGE = 2
} evener_call_policy_kind;

typedef struct evener_call_policy {
    evener_call_policy_kind kind;
    uint32_t attempts_max; /* at least 2, as configured: the channel's limit applies on top */
    uint32_t codes;        /* bit 1 << code: the retryable codes, or the non-fatal ones of hedging */
    /* retries */
    uint64_t backoff_initial_ns, backoff_max_ns;
    double backoff_multiplier;
    uint64_t attempt_timeout_ns; /* of one attempt; 0: none */
    /* hedging */
    uint64_t hedging_delay_ns; /* 0: all attempts at once */
    double hedging_quantile;   /* of the method's own latencies, as the delay; 0: not set */
} evener_call_policy;

/* `retryThrottling`, in thousandths of a token. */
typedef struct evener_throttle_config {
    uint32_t max_milli;   /* 0: no throttling */
    uint32_t ratio_milli; /* at least 1 */
} evener_throttle_config;

/* `evenerRetryBudget`. */
typedef struct evener_retry_budget_config {
    uint32_t is_on;
    uint32_t ratio_milli;  /* thousandths of a retry per call */
    uint32_t second_milli; /* and per second */
} evener_retry_budget_config;

/* `evenerLimits`; a field that is absent is UINT32_MAX or UINT64_MAX. */
typedef struct evener_limits_given {
    uint32_t in_flight_max, backend_in_flight_max, waiting_max;
    uint64_t wait_ns_max;
} evener_limits_given;

/* Read `evenerLimits` of a service config, {"maxInFlight": 100, "maxInFlightPerBackend": 10, "maxWaiting": 1000,
 * "maxWait": "1s"}, in which each field may be absent. Errors: INVALID_ARGUMENT. Any thread. */
evener_status_code evener_limits_read(const struct json_t *root, evener_limits_given *limits, evener_status *status);

/* Read `evenerRetryBudget` of a service config, {"ratio": 0.2, "minPerSecond": 10} with these defaults. Without it *budget
 * is untouched. Errors: INVALID_ARGUMENT. Any thread. */
evener_status_code evener_retry_budget_read(const struct json_t *root, evener_retry_budget_config *budget,
                                            evener_status *status);

/* Read `evenerBreaker` of an element of `methodConfig`, {"k": 1.5} with this default. Without it *k is untouched. Errors:
 * INVALID_ARGUMENT. Any thread. */
evener_status_code evener_breaker_read(const struct json_t *entry, size_t index, double *k, evener_status *status);

/* Read `retryPolicy` or `hedgingPolicy` of an element of `methodConfig`. Without either *policy is untouched. Errors:
 * INVALID_ARGUMENT, with a message that begins with "service config: methodConfig[INDEX]". Any thread. */
evener_status_code evener_call_policy_read(const struct json_t *entry, size_t index, evener_call_policy *policy,
                                           evener_status *status);

/* Read `retryThrottling` of a service config. Without it *throttle is untouched. Errors: INVALID_ARGUMENT. Any
 * thread. */
evener_status_code evener_throttle_read(const struct json_t *root, evener_throttle_config *throttle,
                                        evener_status *status);

#endif
