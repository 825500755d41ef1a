/* Status: how every function of evener that may fail reports its result.
 *
 * A code for programs, and a message for people. Functions return the code and, if given one, fill an
 * `evener_status`:
 *
 *     evener_status status;
 *     if (evener_channel_create("dns:///orders.prod:50051", &options, &channel, &status) != EVENER_STATUS_OK)
 *         fprintf(stderr, "%s\n", status.message);
 *
 * A status is a plain value on the caller's stack: it owns nothing, may be copied and needs no clean-up. */
#ifndef EVENER_STATUS_H
#define EVENER_STATUS_H

#include <evener/export.h>

EVENER_BEGIN_DECLS

/* gRPC's status codes with gRPC's numbers (grpc: doc/statuscodes.md). */
typedef enum evener_status_code {
    EVENER_STATUS_OK = 0,
    EVENER_STATUS_CANCELLED = 1,
    EVENER_STATUS_UNKNOWN = 2,
    EVENER_STATUS_INVALID_ARGUMENT = 3,
    EVENER_STATUS_DEADLINE_EXCEEDED = 4,
    EVENER_STATUS_NOT_FOUND = 5,
    EVENER_STATUS_ALREADY_EXISTS = 6,
    EVENER_STATUS_PERMISSION_DENIED = 7,
    EVENER_STATUS_RESOURCE_EXHAUSTED = 8,
    EVENER_STATUS_FAILED_PRECONDITION = 9,
    EVENER_STATUS_ABORTED = 10,
    EVENER_STATUS_OUT_OF_RANGE = 11,
    EVENER_STATUS_UNIMPLEMENTED = 12,
    EVENER_STATUS_INTERNAL = 13,
    EVENER_STATUS_UNAVAILABLE = 14,
    EVENER_STATUS_DATA_LOSS = 15,
    EVENER_STATUS_UNAUTHENTICATED = 16
} evener_status_code;

/* Bytes for a message including its NUL. Of a longer one the middle is cut out, marked " ... ": the beginning says
 * where, and the end says what to do. */
#define EVENER_STATUS_MESSAGE_BYTES 512

typedef struct evener_status {
    evener_status_code code;
    char message[EVENER_STATUS_MESSAGE_BYTES]; /* never NULL; "" when OK */
} evener_status;

/* Fill `status` (NULL: only the code is returned) and return `code`, so that a function can end with `return
 * evener_status_set(status, EVENER_STATUS_..., "...", ...)`. The arguments may point into `status` itself (to prefix
 * its own message). Any thread. Never fails. */
EVENER_API evener_status_code evener_status_set(evener_status *status, evener_status_code code, const char *format, ...)
    EVENER_PRINTF(3, 4);

/* Make `status` OK with an empty message. `status` may be NULL. Return EVENER_STATUS_OK. Any thread. */
EVENER_API evener_status_code evener_status_clear(evener_status *status);

/* Return gRPC's name of the code, "UNAVAILABLE"; "UNKNOWN" for a number that is no code. A static string. */
EVENER_API const char *evener_status_code_name(evener_status_code code);

EVENER_END_DECLS

#endif
