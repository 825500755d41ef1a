/* Names of backends: which :authority a connection's calls have, and which name its server is verified against.
 *
 * A certificate proves a name only if the name did not come from what it is to prove. So the order is: what the
 * application set; what the list says of this backend; the host that the target names; and for a target that names none
 * (a list of addresses) the backend's own address. Never a name that nobody gave, as "localhost" would be. */
#ifndef EVENER_LB_BACKEND_SERVER_NAME_H
#define EVENER_LB_BACKEND_SERVER_NAME_H

#include <evener/address.h>

/* Where a channel's authority comes from. */
typedef enum evener_authority_origin {
    EVENER_AUTHORITY_SET = 0,       /* options.authority: holds for every backend, whatever its attributes say */
    EVENER_AUTHORITY_OF_TARGET = 1, /* the host that the target names */
    EVENER_AUTHORITY_OF_LIST = 2    /* the target names no host: good for a header, but proves nothing */
} evener_authority_origin;

/* Return the :authority of calls to a backend over plain text. `authority` is the channel's. Lives as long as both. */
const char *evener_backend_authority(const evener_address *address, const char *authority,
                                     evener_authority_origin origin);

/* Return the name that a backend is verified against, which is its :authority then: "orders.prod:50051",
 * "10.0.0.1:443", "[fe80::1]:443" (a zone is this machine's own word, RFC 6874, and in no certificate). NULL: there is
 * none (a socket in the file system, and nobody gave it a name). Lives as long as `address`, `authority` and `buffer`. */
const char *evener_backend_server_name(const evener_address *address, const char *authority,
                                       evener_authority_origin origin, char buffer[EVENER_ADDRESS_BYTES_MAX]);

#endif
