#include "lb/channel/call_policy.h"

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <jansson.h>

#include <evener/loop.h>

#include "lb/base/c_locale.h"
#include "lb/channel/json_duration.h"

#define PLACE_BYTES 96
#define CODES 17 /* OK to UNAUTHENTICATED */

/* An object that is being read, and its name in messages. */
typedef struct place {
    const json_t *object;
    char name[PLACE_BYTES];
    evener_status *status;
} place;

static __attribute__((format(printf, 3, 4))) evener_status_code refuse(const place *at, const char *field,
                                                                       const char *format, ...)
{
    char text[EVENER_STATUS_MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    (void)evener_vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return evener_status_set(at->status, EVENER_STATUS_INVALID_ARGUMENT, "service config: %s%s%s: %s", at->name,
                             field[0] != '\0' ? "." : "", field, text);
}

static evener_status_code read_attempts_max(const place *at, uint32_t *attempts_max)
{
    const json_t *value = json_object_get(at->object, "maxAttempts");
    const json_int_t number = json_is_integer(value) ? json_integer_value(value) : 0;
    if (number < 2) {
        return refuse(at, "maxAttempts", "a whole number above 1 is needed");
    }
    *attempts_max = number < UINT32_MAX ? (uint32_t)number : UINT32_MAX;
    return EVENER_STATUS_OK;
}

/* Read a duration. Without the field *ns is untouched. */
static evener_status_code read_duration(const place *at, const char *name, bool above_zero, uint64_t *ns)
{
    const json_t *value = json_object_get(at->object, name);
    if (value == NULL) {
        return EVENER_STATUS_OK;
    }
    uint64_t read_ns;
    if (!evener_json_duration_ns(value, &read_ns) || (above_zero && read_ns == 0)) {
        return refuse(at, name, "a duration like \"0.1s\"%s is needed", above_zero ? ", above 0s," : "");
    }
    *ns = read_ns;
    return EVENER_STATUS_OK;
}

static evener_status_code read_mandatory_duration(const place *at, const char *name, uint64_t *ns)
{
    if (json_object_get(at->object, name) == NULL) {
        return refuse(at, name, "it is missing: a duration like \"0.1s\" is needed");
    }
    return read_duration(at, name, true, ns);
}

/* Return the code of a number or a name in any case; CODES: there is none. */
static unsigned code_of(const json_t *value)
{
    if (json_is_integer(value)) {
        const json_int_t number = json_integer_value(value);
        return number >= 0 && number < CODES ? (unsigned)number : CODES;
    }
    unsigned code = 0;
    while (code < CODES &&
           (!json_is_string(value) ||
            strcasecmp(json_string_value(value), evener_status_code_name((evener_status_code)code)) != 0)) {
        code++;
    }
    return code;
}

/* Read a list of codes. Without the field *codes is untouched. */
static evener_status_code read_codes(const place *at, const char *name, uint32_t *codes)
{
    const json_t *list = json_object_get(at->object, name);
    if (list == NULL) {
        return EVENER_STATUS_OK;
    }
    if (!json_is_array(list)) {
        return refuse(at, name, "a list of status codes is needed");
    }
    uint32_t found = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const unsigned code = code_of(json_array_get(list, i));
        if (code == CODES) {
            return refuse(at, name, "element %zu: the name or the number of a status code is needed", i);
        }
        found |= UINT32_C(1) << code;
    }
    *codes = found & ~UINT32_C(1); /* OK ends a call */
    return EVENER_STATUS_OK;
}

static evener_status_code read_retry(const place *at, evener_call_policy *policy)
{
    const json_t *multiplier = json_object_get(at->object, "backoffMultiplier");
    evener_status_code code = read_attempts_max(at, &policy->attempts_max);
    if (code == EVENER_STATUS_OK) {
        code = read_mandatory_duration(at, "initialBackoff", &policy->backoff_initial_ns);
    }
    if (code == EVENER_STATUS_OK) {
        code = read_mandatory_duration(at, "maxBackoff", &policy->backoff_max_ns);
    }
    if (code == EVENER_STATUS_OK && (!json_is_number(multiplier) || !(json_number_value(multiplier) > 0))) {
        code = refuse(at, "backoffMultiplier", "a number above 0 is needed");
    }
    if (code == EVENER_STATUS_OK) {
        policy->backoff_multiplier = json_number_value(multiplier);
        code = read_codes(at, "retryableStatusCodes", &policy->codes);
    }
    if (code == EVENER_STATUS_OK && json_array_size(json_object_get(at->object, "retryableStatusCodes")) == 0) {
        code = refuse(at, "retryableStatusCodes", "a list with at least one status code is needed");
    }
    return code == EVENER_STATUS_OK ? read_duration(at, "perAttemptRecvTimeout", true, &policy->attempt_timeout_ns)
                                    : code;
}

static evener_status_code read_hedging(const place *at, evener_call_policy *policy)
{
    evener_status_code code = read_attempts_max(at, &policy->attempts_max);
    if (code == EVENER_STATUS_OK) {
        code = read_duration(at, "hedgingDelay", false, &policy->hedging_delay_ns);
    }
    if (code == EVENER_STATUS_OK) {
        code = read_codes(at, "nonFatalStatusCodes", &policy->codes);
    }
    const json_t *quantile = json_object_get(at->object, "evenerHedgingQuantile");
    if (code != EVENER_STATUS_OK || quantile == NULL) {
        return code;
    }
    policy->hedging_quantile = json_number_value(quantile);
    return json_is_number(quantile) && policy->hedging_quantile > 0 && policy->hedging_quantile < 1
               ? EVENER_STATUS_OK
               : refuse(at, "evenerHedgingQuantile", "a number above 0 and below 1 is needed");
}

evener_status_code evener_call_policy_read(const json_t *entry, size_t index, evener_call_policy *policy,
                                           evener_status *status)
{
    const json_t *retry = json_object_get(entry, "retryPolicy");
    const json_t *hedging = json_object_get(entry, "hedgingPolicy");
    if (retry == NULL && hedging == NULL) {
        return EVENER_STATUS_OK;
    }
    place at = {.object = retry != NULL ? retry : hedging, .status = status};
    const char *const name = retry != NULL ? "retryPolicy" : "hedgingPolicy";
    (void)snprintf(at.name, sizeof at.name, "methodConfig[%zu].%s", index, name);
    if (retry != NULL && hedging != NULL) {
        return refuse(&at, "", "a method has either this or a hedgingPolicy, not both");
    }
    if (!json_is_object(at.object)) {
        return refuse(&at, "", "an object is needed");
    }
    evener_call_policy read = {.kind = retry != NULL ? EVENER_CALL_POLICY_RETRY : EVENER_CALL_POLICY_HEDGE};
    const evener_status_code code = retry != NULL ? read_retry(&at, &read) : read_hedging(&at, &read);
    if (code == EVENER_STATUS_OK) {
        *policy = read;
    }
    return code;
}

/* ---- throttling ---- */

#define TOKENS_MAX 1000.0

evener_status_code evener_throttle_read(const json_t *root, evener_throttle_config *throttle, evener_status *status)
{
    const place at = {.object = json_object_get(root, "retryThrottling"), .name = "retryThrottling", .status = status};
    if (at.object == NULL) {
        return EVENER_STATUS_OK;
    }
    if (!json_is_object(at.object)) {
        return refuse(&at, "", "an object is needed");
    }
    const json_t *max = json_object_get(at.object, "maxTokens");
    const json_t *ratio = json_object_get(at.object, "tokenRatio");
    if (!json_is_number(max) || !(json_number_value(max) > 0 && json_number_value(max) <= TOKENS_MAX)) {
        return refuse(&at, "maxTokens", "a number above 0 and up to %g is needed", TOKENS_MAX);
    }
    /* Three decimals count, and a ratio that they cannot express is refused: it would add nothing. */
    const double ratio_milli = json_is_number(ratio) ? floor(json_number_value(ratio) * 1000 + 1e-6) : 0;
    if (!(ratio_milli >= 1)) {
        return refuse(&at, "tokenRatio", "a number of at least 0.001 is needed");
    }
    const double max_milli = ceil(json_number_value(max) * 1000);
    throttle->max_milli = (uint32_t)max_milli;
    /* More than the maximum per success fills the bucket all the same. */
    throttle->ratio_milli = (uint32_t)(ratio_milli < max_milli ? ratio_milli : max_milli);
    return EVENER_STATUS_OK;
}

/* ---- beyond A6 ---- */

/* Read a number of an object. Without the field *value is untouched. */
static evener_status_code read_number(const place *at, const char *name, double min, double max, double *value)
{
    const json_t *field = json_object_get(at->object, name);
    if (field == NULL) {
        return EVENER_STATUS_OK;
    }
    if (!json_is_number(field) || !(json_number_value(field) >= min && json_number_value(field) <= max)) {
        return refuse(at, name, "a number from %g to %g is needed", min, max);
    }
    *value = json_number_value(field);
    return EVENER_STATUS_OK;
}

evener_status_code evener_retry_budget_read(const json_t *root, evener_retry_budget_config *budget,
                                            evener_status *status)
{
    const place at = {
        .object = json_object_get(root, "evenerRetryBudget"), .name = "evenerRetryBudget", .status = status};
    if (at.object == NULL) {
        return EVENER_STATUS_OK;
    }
    double ratio = 0.2;
    double per_second = 10;
    if (!json_is_object(at.object)) {
        return refuse(&at, "", "an object is needed");
    }
    evener_status_code code = read_number(&at, "ratio", 0, 1000, &ratio);
    if (code == EVENER_STATUS_OK) {
        code = read_number(&at, "minPerSecond", 0, 1e6, &per_second);
    }
    if (code == EVENER_STATUS_OK) {
        *budget = (evener_retry_budget_config){1, (uint32_t)(ratio * 1000 + 0.5), (uint32_t)(per_second * 1000 + 0.5)};
    }
    return code;
}

static evener_status_code read_whole(const place *at, const char *name, double min, uint32_t *value)
{
    double found = -1;
    const evener_status_code code = read_number(at, name, min, UINT32_MAX - 1.0, &found);
    if (code != EVENER_STATUS_OK || found < 0) {
        return code;
    }
    if (found != floor(found)) {
        return refuse(at, name, "a whole number is needed");
    }
    *value = (uint32_t)found;
    return EVENER_STATUS_OK;
}

evener_status_code evener_limits_read(const json_t *root, evener_limits_given *limits, evener_status *status)
{
    const place at = {.object = json_object_get(root, "evenerLimits"), .name = "evenerLimits", .status = status};
    evener_limits_given found = {UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT64_MAX};
    if (at.object != NULL && !json_is_object(at.object)) {
        return refuse(&at, "", "an object is needed");
    }
    evener_status_code code = EVENER_STATUS_OK;
    if (at.object != NULL) {
        code = read_whole(&at, "maxInFlight", 1, &found.in_flight_max);
        code =
            code == EVENER_STATUS_OK ? read_whole(&at, "maxInFlightPerBackend", 1, &found.backend_in_flight_max) : code;
        code = code == EVENER_STATUS_OK ? read_whole(&at, "maxWaiting", 0, &found.waiting_max) : code;
        code = code == EVENER_STATUS_OK ? read_duration(&at, "maxWait", true, &found.wait_ns_max) : code;
    }
    if (code == EVENER_STATUS_OK) {
        *limits = found;
    }
    return code;
}

evener_status_code evener_breaker_read(const json_t *entry, size_t index, double *k, evener_status *status)
{
    place at = {.object = json_object_get(entry, "evenerBreaker"), .status = status};
    if (at.object == NULL) {
        return EVENER_STATUS_OK;
    }
    (void)snprintf(at.name, sizeof at.name, "methodConfig[%zu].evenerBreaker", index);
    if (!json_is_object(at.object)) {
        return refuse(&at, "", "an object is needed");
    }
    double found = 1.5;
    const evener_status_code code = read_number(&at, "k", 1, 1000, &found);
    if (code == EVENER_STATUS_OK) {
        *k = found;
    }
    return code;
}
