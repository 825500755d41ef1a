/* The algorithms of outlier detection (A50, and consecutive failures), as functions over counts: no policy, no time. */
#ifndef EVENER_LB_POLICY_OUTLIER_ALGORITHMS_H
#define EVENER_LB_POLICY_OUTLIER_ALGORITHMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/policy_config.h>

typedef struct evener_success_rate_config {
    bool enabled;
    uint32_t stdev_factor; /* thousandths */
    uint32_t enforcement_percent, minimum_hosts, request_volume;
} evener_success_rate_config;

typedef struct evener_failure_percentage_config {
    bool enabled;
    uint32_t threshold_percent, enforcement_percent, minimum_hosts, request_volume;
} evener_failure_percentage_config;

typedef struct evener_consecutive_config {
    bool enabled;
    uint32_t threshold, enforcement_percent;
} evener_consecutive_config;

typedef struct evener_outlier_config {
    uint64_t interval_ns, base_ejection_ns, max_ejection_ns;
    uint32_t max_ejection_percent;
    uint32_t min_healthy_percent; /* this share is never ejected, and one backend at least */
    uint32_t panic_percent;       /* while less than this share is healthy, ejected backends are used; 0: never */
    uint32_t failure_codes;       /* failure_codes.h */
    evener_success_rate_config success_rate;
    evener_failure_percentage_config failure_percentage;
    evener_consecutive_config consecutive;
} evener_outlier_config;

#define EVENER_OUTLIER_REASON_BYTES 96

/* One endpoint, as the algorithms see it. */
typedef struct evener_outlier_host {
    uint64_t successes, failures;             /* of the last interval */
    uint32_t run;                             /* the most failures in a row in it */
    bool ejected;                             /* in: it is ejected; out: it is to be ejected */
    char reason[EVENER_OUTLIER_REASON_BYTES]; /* out: why, when it was ejected now */
} evener_outlier_host;

/* Mark the hosts to be ejected. `percent` gives a random number below 100 for the enforcement. */
void evener_outlier_sweep(const evener_outlier_config *config, evener_outlier_host *hosts, size_t count,
                          uint32_t (*percent)(void *arg), void *arg);

/* Read the fields of A50's OutlierDetectionLoadBalancingConfig into `config`, all but childPolicy. */
void evener_outlier_read(evener_policy_fields *fields, evener_outlier_config *config);

#endif
