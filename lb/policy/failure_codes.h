/* Failure codes: the status codes that count against a backend, as a set of bits. Every policy that judges backends has
 * the option "failureCodes". */
#ifndef EVENER_LB_POLICY_FAILURE_CODES_H
#define EVENER_LB_POLICY_FAILURE_CODES_H

#include <stdbool.h>
#include <stdint.h>

#include <evener/policy_config.h>
#include <evener/status.h>

/* The codes of go-zero (codes.Acceptable). */
#define EVENER_GO_ZERO_FAILURES                                                                                        \
    (1U << EVENER_STATUS_DEADLINE_EXCEEDED | 1U << EVENER_STATUS_RESOURCE_EXHAUSTED |                                  \
     1U << EVENER_STATUS_UNIMPLEMENTED | 1U << EVENER_STATUS_INTERNAL | 1U << EVENER_STATUS_UNAVAILABLE |              \
     1U << EVENER_STATUS_DATA_LOSS)
/* The default: those, and UNKNOWN, which servers of most languages answer when a handler throws. */
#define EVENER_FAILURE_CODES_DEFAULT (EVENER_GO_ZERO_FAILURES | 1U << EVENER_STATUS_UNKNOWN)

static inline bool evener_is_failure(uint32_t codes, evener_status_code code)
{
    return (codes >> ((uint32_t)code & 31U) & 1U) != 0;
}

#endif
