/* google.protobuf.Duration in JSON: "1.5s". */
#ifndef EVENER_LB_CHANNEL_JSON_DURATION_H
#define EVENER_LB_CHANNEL_JSON_DURATION_H

#include <stdbool.h>
#include <stdint.h>

struct json_t;

/* The maximum of google.protobuf.Duration. */
#define EVENER_JSON_DURATION_SECONDS_MAX 315576000000.0

/* Parse the text of a duration that is not negative. False: it is none, and *seconds is untouched. Any thread. */
bool evener_json_duration(const struct json_t *value, double *seconds);

/* The same in nanoseconds, at most UINT64_MAX / 4, rounded up: no duration above 0 becomes 0. */
bool evener_json_duration_ns(const struct json_t *value, uint64_t *ns);

#endif
