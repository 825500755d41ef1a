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

/* Copy the trailers, and name the backend ("ipv4:127.0.0.1:50051"; `address` is an address's text). The headers
 * stay. */
void evener_details_end(evener_call_details *details, const char *address, const evener_metadata *trailing,
                        size_t trailing_count);

/* Move the contents of `from` to `to`, up to the size of `to`, and empty `from`. */
void evener_details_move(evener_call_details *from, evener_call_details *to);

/* Write the backend's name from its address's text: a family before IP addresses, paths as they are. Write at most
 * `bytes` with the NUL; return the length of the whole name. */
size_t evener_details_peer(const char *address, char *to, size_t bytes);

#endif
