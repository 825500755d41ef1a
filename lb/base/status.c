#include <evener/status.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lb/base/c_locale.h"

evener_status_code evener_status_set(evener_status *status, evener_status_code code, const char *format, ...)
{
    if (status == NULL) {
        return code;
    }
    /* The arguments may point into status->message: it is overwritten only when the new text is complete. */
    char message[EVENER_STATUS_MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    const int length = evener_vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    status->code = code;
    if (length < 0) { /* an invalid multibyte string in the arguments: the code must still arrive */
        message[0] = '\0';
    }
    memcpy(status->message, message, strlen(message) + 1);
    return code;
}

evener_status_code evener_status_clear(evener_status *status)
{
    if (status != NULL) {
        status->code = EVENER_STATUS_OK;
        status->message[0] = '\0';
    }
    return EVENER_STATUS_OK;
}

const char *evener_status_code_name(evener_status_code code)
{
    static const char *const names[] = {
        [EVENER_STATUS_OK] = "OK",
        [EVENER_STATUS_CANCELLED] = "CANCELLED",
        [EVENER_STATUS_UNKNOWN] = "UNKNOWN",
        [EVENER_STATUS_INVALID_ARGUMENT] = "INVALID_ARGUMENT",
        [EVENER_STATUS_DEADLINE_EXCEEDED] = "DEADLINE_EXCEEDED",
        [EVENER_STATUS_NOT_FOUND] = "NOT_FOUND",
        [EVENER_STATUS_ALREADY_EXISTS] = "ALREADY_EXISTS",
        [EVENER_STATUS_PERMISSION_DENIED] = "PERMISSION_DENIED",
        [EVENER_STATUS_RESOURCE_EXHAUSTED] = "RESOURCE_EXHAUSTED",
        [EVENER_STATUS_FAILED_PRECONDITION] = "FAILED_PRECONDITION",
        [EVENER_STATUS_ABORTED] = "ABORTED",
        [EVENER_STATUS_OUT_OF_RANGE] = "OUT_OF_RANGE",
        [EVENER_STATUS_UNIMPLEMENTED] = "UNIMPLEMENTED",
        [EVENER_STATUS_INTERNAL] = "INTERNAL",
        [EVENER_STATUS_UNAVAILABLE] = "UNAVAILABLE",
        [EVENER_STATUS_DATA_LOSS] = "DATA_LOSS",
        [EVENER_STATUS_UNAUTHENTICATED] = "UNAUTHENTICATED",
    };
    const size_t index = (size_t)code;
    return index < sizeof(names) / sizeof(names[0]) ? names[index] : "UNKNOWN";
}
