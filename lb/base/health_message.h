/* Health messages: the two messages of grpc.health.v1.Health/Watch (grpc: doc/health-checking.md), for all transports.
 * They have one field each, so no protobuf library is needed. */
#ifndef EVENER_LB_BASE_HEALTH_MESSAGE_H
#define EVENER_LB_BASE_HEALTH_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lb/base/sibling.h"

#define EVENER_HEALTH_METHOD "/grpc.health.v1.Health/Watch"
#define EVENER_HEALTH_SERVICE_BYTES_MAX 4096
#define EVENER_HEALTH_REQUEST_BYTES_MAX (EVENER_HEALTH_SERVICE_BYTES_MAX + 8)

/* Write a HealthCheckRequest for `service`, of at most EVENER_HEALTH_SERVICE_BYTES_MAX bytes. Return its length. Any
 * thread. */
EVENER_SIBLING size_t evener_health_request_write(const char *service,
                                                  uint8_t request[EVENER_HEALTH_REQUEST_BYTES_MAX]);

/* Read a HealthCheckResponse and store whether its status is SERVING. False: it is not well-formed, and *serving is
 * untouched. Any thread. */
EVENER_SIBLING bool evener_health_response_parse(const uint8_t *message, size_t bytes, bool *serving);

#endif
