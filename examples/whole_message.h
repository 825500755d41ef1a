/* The status message of a call, whole. The command-line program and the gateway print it. */
#ifndef EXAMPLES_WHOLE_MESSAGE_H
#define EXAMPLES_WHOLE_MESSAGE_H

#include <string.h>

#include <evener/call.h>

/* Return the message as the call got it, borrowed from the arguments. The one in `status` may be cut in the middle,
 * between characters, or at a NUL byte: it is shorter then. `details` are those of the ended call, or NULL. */
static inline evener_bytes whole_message(const evener_status *status, const evener_call_details *details)
{
    const size_t kept = strlen(status->message);
    if (details != NULL && details->status_message != NULL && details->status_message_bytes > kept) {
        return (evener_bytes){.data = (const uint8_t *)details->status_message,
                              .length = details->status_message_bytes};
    }
    return (evener_bytes){.data = (const uint8_t *)status->message, .length = kept};
}

#endif
