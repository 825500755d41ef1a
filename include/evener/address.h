/* Address: one backend to connect to, with attributes that custom code can read.
 *
 *     evener_attribute weight = {"weight", "3"};
 *     evener_address *address;
 *     if (evener_address_create("10.0.0.1:50051", &weight, 1, &address, &status) != EVENER_STATUS_OK) ...
 *     evener_address_text(address);                      // "10.0.0.1:50051"
 *     evener_address_attribute(address, "weight");       // "3"
 *     evener_address_unref(address);
 *
 * Addresses are immutable and reference-counted. Any number of threads may share and read them. */
#ifndef EVENER_ADDRESS_H
#define EVENER_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/status.h>

EVENER_BEGIN_DECLS

/* One named value. Well-known keys:
 *   "weight"     positive integer, 1 to 4294967295; policies that weigh read it (default 1)
 *   "priority"   tier of failover, 0 first (SRV)
 *   "zone"       free text
 *   "authority"  :authority and TLS name of this backend; wins over the target's host, not over the channel's
 *                options.authority; part of the identity */
typedef struct evener_attribute {
    const char *key;
    const char *value;
} evener_attribute;

typedef struct evener_address evener_address;

typedef enum evener_address_family {
    EVENER_FAMILY_IPV4 = 0,
    EVENER_FAMILY_IPV6 = 1,
    EVENER_FAMILY_UNIX = 2,          /* "unix:/path" */
    EVENER_FAMILY_UNIX_ABSTRACT = 3, /* "unix-abstract:name" */
    EVENER_FAMILY_VSOCK = 4          /* "vsock:cid:port", a virtual machine's host or guest (vsock(7)) */
} evener_address_family;

#define EVENER_ADDRESS_BYTES_MAX 256     /* length limit of an address's text */
#define EVENER_ADDRESS_ATTRIBUTES_MAX 64 /* number of attributes of one address */
#define EVENER_ATTRIBUTE_BYTES_MAX 1024  /* length limit of a key or a value */

/* Create an address from "1.2.3.4:port", "[v6]:port" (a %zone is allowed), "unix:path", "unix-abstract:name" or
 * "vsock:cid:port" (a port there has 32 bits), and bring the text into its canonical form (RFC 5952 for IPv6). The
 * attributes are copied; of two with one key the last
 * wins. On success store a reference in *address; give it back with evener_address_unref(). Errors: INVALID_ARGUMENT
 * (no port, port not 1..65535, a host name, a limit above) with the reason; RESOURCE_EXHAUSTED on out of memory. Any
 * thread. */
EVENER_API evener_status_code evener_address_create(const char *text, const evener_attribute *attributes,
                                                    size_t attribute_count, evener_address **address,
                                                    evener_status *status);

/* Create an address of the same backend with other attributes (all of them replaced). Ownership and errors as
 * evener_address_create(). */
EVENER_API evener_status_code evener_address_with_attributes(const evener_address *address,
                                                             const evener_attribute *attributes, size_t attribute_count,
                                                             evener_address **changed, evener_status *status);

/* Take or give back a reference. NULL is allowed. evener_address_ref() returns its argument. Any thread. */
EVENER_API evener_address *evener_address_ref(const evener_address *address);
EVENER_API void evener_address_unref(const evener_address *address);

/* Return the canonical text. It lives as long as the address. */
EVENER_API const char *evener_address_text(const evener_address *address);

/* Return the family that the text names. */
EVENER_API evener_address_family evener_address_get_family(const evener_address *address);

/* The parts of an address, for transports that connect by host and port. */
typedef struct evener_address_parts {
    size_t size; /* sizeof(evener_address_parts), set by the caller; members beyond it are not written */
    evener_address_family family;
    uint32_t port; /* 0 for a Unix socket */
    char host[EVENER_ADDRESS_BYTES_MAX +
              1];  /* "10.0.0.1", "2001:db8::1" without brackets and zone, path, name, or cid */
    char zone[16]; /* of an IPv6 address: "eth0" or a number; otherwise "" */
} evener_address_parts;

/* Split an address into its parts. All members but `size` are written. Any thread. */
EVENER_API void evener_address_get_parts(const evener_address *address, evener_address_parts *parts);

struct sockaddr_storage;

/* Write the address in the form that connect() takes, and its number of bytes (a socklen_t). Errors: NOT_FOUND: the
 * zone of an IPv6 address names no interface of this machine; the output is untouched then. Any thread. A zone that
 * is a name costs a system call. */
EVENER_API evener_status_code evener_address_get_sockaddr(const evener_address *address,
                                                          struct sockaddr_storage *storage, uint32_t *storage_bytes,
                                                          evener_status *status);

/* Return the value of an attribute, or NULL if the address has none of that key. It lives as long as the address.
 * O(n) in the number of attributes. */
EVENER_API const char *evener_address_attribute(const evener_address *address, const char *key);

/* Return the value of the attribute "authority", or NULL. It lives as long as the address. O(1) if there is none. */
EVENER_API const char *evener_address_authority(const evener_address *address);

/* Return an attribute as an integer of 0 to 4294967295, or `fallback` if it is missing or not such a number. */
EVENER_API uint32_t evener_address_attribute_u32(const evener_address *address, const char *key, uint32_t fallback);

/* Return the number of attributes, and each by its index, sorted by key. */
EVENER_API size_t evener_address_attribute_count(const evener_address *address);
EVENER_API evener_attribute evener_address_attribute_at(const evener_address *address, size_t index);

/* Return whether both are the same backend on the same connection: equal text and equal "authority" attribute. This
 * is the identity of a subchannel. */
EVENER_API bool evener_address_same_backend(const evener_address *a, const evener_address *b);

/* Return whether both are the same backend with equal attributes. */
EVENER_API bool evener_address_equal(const evener_address *a, const evener_address *b);

/* Return a hash of the identity. Addresses for which evener_address_same_backend() is true have equal hashes. Differs
 * between processes. */
EVENER_API uint64_t evener_address_identity_hash(const evener_address *address);

EVENER_END_DECLS

#endif
