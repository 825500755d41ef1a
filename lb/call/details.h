/* Fill evener_call_details. The struct is the caller's, with the size of the version that the program was built for:
 * nothing is written beyond it. */
#ifndef EVENER_LB_CALL_DETAILS_H
#define EVENER_LB_CALL_DETAILS_H

#include <evener/call.h>
#include <evener/transport.h>

/* Check the details that a call names. Errors: INVALID_ARGUMENT (no size, or one that no evener had). NULL is OK. */
evener_status_code evener_details_check(const evener_call_details *details, evener_status *status);

/* Empty the details when an attempt begins. The functions here accept NULL details, and do nothing then. */
void evener_details_begin(evener_call_details *details, uint32_t attempts);

/* Copy the server's headers. Without memory they stay empty, here and below. */
void evener_details_headers(evener_call_details *details, const evener_metadata *metadata, size_t count);

/* What is known at the end of an attempt. */
typedef struct evener_details_at_end {
    const char *address; /* of the backend: an address's text */
    const char *message; /* of the status */
    size_t message_bytes;
    const evener_metadata *trailing;
    size_t trailing_count;
} evener_details_at_end;

/* Copy trailers and message, and name the backend ("ipv4:127.0.0.1:50051"). The headers stay. */
void evener_details_end(evener_call_details *details, const evener_details_at_end *end);

/* Move the contents of `from` to `to`, up to the size of `to`, and empty `from`. */
void evener_details_move(evener_call_details *from, evener_call_details *to);

/* Write the backend's name from its address's text: a family before IP addresses, paths as they are. Write at most
 * `bytes` with the NUL; return the length of the whole name. */
size_t evener_details_peer(const char *address, char *to, size_t bytes);

#endif
