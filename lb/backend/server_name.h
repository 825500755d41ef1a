/* Server name: the :authority of a backend's calls, and the name that its server is verified against.
 *
 * A certificate proves a name only if that name did not come from the peer itself. The order is: what the application
 * set; what the address list says of this backend; the host of the target; and for a target without a host (a list of
 * addresses) the backend's own address. Never a made-up name such as "localhost". */
#ifndef EVENER_LB_BACKEND_SERVER_NAME_H
#define EVENER_LB_BACKEND_SERVER_NAME_H

#include <stddef.h>

#include <evener/address.h>

/* Where a channel's authority comes from. */
typedef enum evener_authority_origin {
    EVENER_AUTHORITY_SET = 0,       /* options.authority: holds for every backend, whatever its attributes say */
    EVENER_AUTHORITY_OF_TARGET = 1, /* the host of the target */
    EVENER_AUTHORITY_OF_LIST = 2    /* the target has no host: valid as a header, but proves nothing */
} evener_authority_origin;

/* Return a host without the last dot of a complete name (RFC 6066 section 3, "without a trailing dot"): "orders.prod."
 * and "orders.prod.:443" lose it. Return `name` itself if it has none, else `buffer`. A name
 * that does not fit is left as it is. */
const char *evener_without_last_dot(const char *name, char *buffer, size_t buffer_bytes);

/* Return the :authority of calls to a backend over plain text. `authority` is the channel's. Lives as long as both. */
const char *evener_backend_authority(const evener_address *address, const char *authority,
                                     evener_authority_origin origin);

/* Return the name that a backend is verified against, which is then also its :authority: "orders.prod:50051",
 * "10.0.0.1:443", "[fe80::1]:443" (without the zone, which has a meaning on this machine only, RFC 6874, and is in no
 * certificate); without a last dot, whoever set it. NULL: there is none (a Unix socket, and neither application nor
 * list names it). Lives as long as
 * `address`, `authority` and `buffer`. */
const char *evener_backend_server_name(const evener_address *address, const char *authority,
                                       evener_authority_origin origin, char buffer[EVENER_ADDRESS_BYTES_MAX]);

#endif
