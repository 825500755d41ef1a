#include <evener/status.h>

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb/base/c_locale.h"

#define CUT " ... "
/* What a message begins with says where, and what it ends with says what to do: both stay. */
#define HEAD_BYTES 300
#define TAIL_BYTES (EVENER_STATUS_MESSAGE_BYTES - 1 - HEAD_BYTES - (sizeof CUT - 1))

static bool is_inside_character(char byte)
{
    return ((unsigned char)byte & 0xc0) == 0x80; /* RFC 3629: UTF-8 */
}

/* Write the beginning and the end of the text. */
static void cut_middle(const char *text, size_t length, char message[EVENER_STATUS_MESSAGE_BYTES])
{
    size_t head = HEAD_BYTES;
    const char *tail = text + length - TAIL_BYTES;
    for (int i = 0; i < 3 && is_inside_character(text[head]); i++) {
        head--;
    }
    for (int i = 0; i < 3 && is_inside_character(*tail); i++) {
        tail++;
    }
    memcpy(message, text, head);
    strcpy(stpcpy(message + head, CUT), tail);
}

static void cut(char message[EVENER_STATUS_MESSAGE_BYTES], size_t length, const char *format, va_list arguments)
{
    char *whole = malloc(length + 1);
    if (whole != NULL && evener_vsnprintf(whole, length + 1, format, arguments) == (int)length) {
        cut_middle(whole, length, message);
    }
    free(whole); /* without memory the message ends where there is no more room */
}

evener_status_code evener_status_set(evener_status *status, evener_status_code code, const char *format, ...)
{
    if (status == NULL) {
        return code;
    }
    /* The arguments may point into status->message: it is overwritten only when the new text is complete. */
    char message[EVENER_STATUS_MESSAGE_BYTES];
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    const int length = evener_vsnprintf(message, sizeof(message), format, arguments);
    if (length >= (int)sizeof message) {
        cut(message, (size_t)length, format, again);
    }
    va_end(again);
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
