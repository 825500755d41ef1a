#include "lb/policy/outlier_algorithms.h"

#include <math.h>
#include <stdio.h>

#include <evener/loop.h>

#include "lb/base/c_locale.h"

#define DURATION_MAX_NS (UINT64_C(365) * 24 * 3600 * EVENER_NS_PER_S)
/* A backend whose success rate is below this share of the mean is an outlier whatever the deviation: when several fail
 * nearly every call, the deviation is so large that the threshold would be below 0. */
#define SUCCESS_FLOOR 0.2

/* ---- the sweep ---- */

typedef struct sweep {
    const evener_outlier_config *config;
    evener_outlier_host *hosts;
    size_t count, ejected;
    uint32_t (*percent)(void *arg);
    void *arg;
} sweep;

static uint64_t volume(const evener_outlier_host *host)
{
    return host->successes + host->failures;
}

static double success_rate(const evener_outlier_host *host)
{
    return 100.0 * (double)host->successes / (double)volume(host);
}

/* Return whether one more may be ejected. A50: at most max_ejection_percent, but one at least. evener's floor: at least
 * min_healthy_percent, and at least one, stay. */
static bool may_eject(const sweep *s)
{
    const double total = (double)s->count;
    const double healthy_after = total - (double)s->ejected - 1;
    if (healthy_after < 1 || 100.0 * healthy_after / total < (double)s->config->min_healthy_percent) {
        return false;
    }
    return s->ejected == 0 || 100.0 * (double)s->ejected / total < (double)s->config->max_ejection_percent;
}

static bool enforced(const sweep *s, uint32_t enforcement_percent)
{
    return s->percent(s->arg) < enforcement_percent;
}

static size_t with_volume(const sweep *s, uint32_t request_volume)
{
    size_t count = 0;
    for (size_t i = 0; i < s->count; i++) {
        count += volume(&s->hosts[i]) >= request_volume && volume(&s->hosts[i]) > 0;
    }
    return count;
}

static void eject(sweep *s, evener_outlier_host *host)
{
    host->ejected = true;
    s->ejected++;
}

static bool has_volume(const evener_outlier_host *host, uint32_t request_volume)
{
    return volume(host) > 0 && volume(host) >= request_volume;
}

/* Find backends with enough calls and no success. They are outliers whatever the others do: when two of six fail every
 * call, the mean less 1.9 standard deviations is below 0, and A50 ejects neither. */
static void without_success(sweep *s, uint32_t request_volume, uint32_t minimum_hosts, uint32_t enforcement_percent)
{
    if (with_volume(s, request_volume) < minimum_hosts) {
        return;
    }
    for (size_t i = 0; i < s->count; i++) {
        evener_outlier_host *host = &s->hosts[i];
        if (!host->ejected && host->successes == 0 && has_volume(host, request_volume) &&
            enforced(s, enforcement_percent) && may_eject(s)) {
            eject(s, host);
            snprintf(host->reason, sizeof host->reason, "none of %llu calls succeeded",
                     (unsigned long long)host->failures);
        }
    }
}

static void by_consecutive_failures(sweep *s)
{
    const evener_consecutive_config *config = &s->config->consecutive;
    for (size_t i = 0; i < s->count; i++) {
        evener_outlier_host *host = &s->hosts[i];
        if (!host->ejected && host->run >= config->threshold && enforced(s, config->enforcement_percent) &&
            may_eject(s)) {
            eject(s, host);
            snprintf(host->reason, sizeof host->reason, "%u failures in a row", host->run);
        }
    }
}

/* A50 "Success Rate Algorithm": too far below the mean of those with enough calls. */
static void by_success_rate(sweep *s)
{
    const evener_success_rate_config *config = &s->config->success_rate;
    const size_t candidates = with_volume(s, config->request_volume);
    if (candidates == 0 || candidates < config->minimum_hosts) {
        return;
    }
    double sum = 0;
    for (size_t i = 0; i < s->count; i++) {
        if (has_volume(&s->hosts[i], config->request_volume)) {
            sum += success_rate(&s->hosts[i]);
        }
    }
    const double mean = sum / (double)candidates;
    double squares = 0;
    for (size_t i = 0; i < s->count; i++) {
        if (has_volume(&s->hosts[i], config->request_volume)) {
            squares += (success_rate(&s->hosts[i]) - mean) * (success_rate(&s->hosts[i]) - mean);
        }
    }
    const double stdev = sqrt(squares / (double)candidates);
    const double threshold = fmax(mean - stdev * ((double)config->stdev_factor / 1000), mean * SUCCESS_FLOOR);
    for (size_t i = 0; i < s->count; i++) {
        evener_outlier_host *host = &s->hosts[i];
        if (host->ejected || !has_volume(host, config->request_volume)) {
            continue;
        }
        if (success_rate(host) < threshold && enforced(s, config->enforcement_percent) && may_eject(s)) {
            eject(s, host);
            evener_snprintf(host->reason, sizeof host->reason, "success rate %.1f %% below %.1f %%", success_rate(host),
                            threshold);
        }
    }
}

/* A50 "Failure Percentage Algorithm": too many failures. */
static void by_failure_percentage(sweep *s)
{
    const evener_failure_percentage_config *config = &s->config->failure_percentage;
    const size_t candidates = with_volume(s, config->request_volume);
    if (candidates == 0 || candidates < config->minimum_hosts) {
        return;
    }
    for (size_t i = 0; i < s->count; i++) {
        evener_outlier_host *host = &s->hosts[i];
        if (host->ejected || !has_volume(host, config->request_volume)) {
            continue;
        }
        const double failing = 100.0 - success_rate(host);
        if (failing > (double)config->threshold_percent && enforced(s, config->enforcement_percent) && may_eject(s)) {
            eject(s, host);
            evener_snprintf(host->reason, sizeof host->reason, "%.1f %% failures, above %u %%", failing,
                            config->threshold_percent);
        }
    }
}

void evener_outlier_sweep(const evener_outlier_config *config, evener_outlier_host *hosts, size_t count,
                          uint32_t (*percent)(void *arg), void *arg)
{
    sweep s = {.config = config, .hosts = hosts, .count = count, .percent = percent, .arg = arg};
    for (size_t i = 0; i < count; i++) {
        s.ejected += hosts[i].ejected;
    }
    if (config->consecutive.enabled) {
        by_consecutive_failures(&s);
    }
    if (config->success_rate.enabled) {
        without_success(&s, config->success_rate.request_volume, config->success_rate.minimum_hosts,
                        config->success_rate.enforcement_percent);
        by_success_rate(&s);
    }
    if (config->failure_percentage.enabled) {
        by_failure_percentage(&s);
    }
}

/* ---- configuration ---- */

static void read_success_rate(evener_policy_fields *fields, evener_success_rate_config *config)
{
    if (!evener_policy_fields_enter(fields, "successRateEjection")) {
        return;
    }
    *config = (evener_success_rate_config){true, 1900, 100, 5, 100};
    evener_policy_fields_get_u32(fields, "stdevFactor", 0, UINT32_MAX, &config->stdev_factor);
    evener_policy_fields_get_u32(fields, "enforcementPercentage", 0, 100, &config->enforcement_percent);
    evener_policy_fields_get_u32(fields, "minimumHosts", 0, UINT32_MAX, &config->minimum_hosts);
    evener_policy_fields_get_u32(fields, "requestVolume", 0, UINT32_MAX, &config->request_volume);
    evener_policy_fields_leave(fields);
}

static void read_failure_percentage(evener_policy_fields *fields, evener_failure_percentage_config *config)
{
    if (!evener_policy_fields_enter(fields, "failurePercentageEjection")) {
        return;
    }
    *config = (evener_failure_percentage_config){true, 85, 100, 5, 50};
    evener_policy_fields_get_u32(fields, "threshold", 0, 100, &config->threshold_percent);
    evener_policy_fields_get_u32(fields, "enforcementPercentage", 0, 100, &config->enforcement_percent);
    evener_policy_fields_get_u32(fields, "minimumHosts", 0, UINT32_MAX, &config->minimum_hosts);
    evener_policy_fields_get_u32(fields, "requestVolume", 0, UINT32_MAX, &config->request_volume);
    evener_policy_fields_leave(fields);
}

static void read_consecutive(evener_policy_fields *fields, evener_consecutive_config *config)
{
    if (!evener_policy_fields_enter(fields, "consecutiveFailureEjection")) {
        return;
    }
    *config = (evener_consecutive_config){true, 5, 100};
    evener_policy_fields_get_u32(fields, "threshold", 1, UINT32_MAX, &config->threshold);
    evener_policy_fields_get_u32(fields, "enforcementPercentage", 0, 100, &config->enforcement_percent);
    evener_policy_fields_leave(fields);
}

void evener_outlier_read(evener_policy_fields *fields, evener_outlier_config *config)
{
    evener_policy_fields_get_duration(fields, "interval", EVENER_NS_PER_MS, DURATION_MAX_NS, &config->interval_ns);
    evener_policy_fields_get_duration(fields, "baseEjectionTime", 0, DURATION_MAX_NS, &config->base_ejection_ns);
    /* A50: the larger of 300 s and the base when it is not said */
    if (config->max_ejection_ns < config->base_ejection_ns) {
        config->max_ejection_ns = config->base_ejection_ns;
    }
    evener_policy_fields_get_duration(fields, "maxEjectionTime", 0, DURATION_MAX_NS, &config->max_ejection_ns);
    evener_policy_fields_get_u32(fields, "maxEjectionPercent", 0, 100, &config->max_ejection_percent);
    evener_policy_fields_get_u32(fields, "minHealthyPercent", 0, 100, &config->min_healthy_percent);
    evener_policy_fields_get_u32(fields, "panicThresholdPercent", 0, 100, &config->panic_percent);
    evener_policy_fields_get_status_codes(fields, "failureCodes", &config->failure_codes);
    read_success_rate(fields, &config->success_rate);
    read_failure_percentage(fields, &config->failure_percentage);
    read_consecutive(fields, &config->consecutive);
}
