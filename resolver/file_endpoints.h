/* The entries of an endpoint file, and parsers for its two formats. */
#ifndef EVENER_RESOLVER_FILE_ENDPOINTS_H
#define EVENER_RESOLVER_FILE_ENDPOINTS_H

#include <stdbool.h>
#include <stddef.h>

#include <evener/address.h>
#include <evener/status.h>

#define EVENER_FILE_BYTES_MAX 33554432 /* 32 MiB; a larger file is refused: it is read on the control thread */
#define EVENER_FILE_HOSTS_MAX 1000     /* host names in one file: each costs a resolver */

typedef struct evener_file_entry {
    evener_address *address; /* owned. For a host name: holds its port and attributes only */
    char *host;              /* owned, "name:port"; NULL: `address` is the endpoint */
    size_t line;
} evener_file_entry;

typedef struct evener_file_endpoints {
    evener_file_entry *entries;
    size_t count;
    size_t capacity;
    size_t host_count;
} evener_file_endpoints;

/* The position of an entry, for messages. */
typedef struct evener_file_place {
    const char *path;
    size_t line;
} evener_file_place;

void evener_file_endpoints_clear(evener_file_endpoints *endpoints);

/* Return whether both have the same entries in the same order; line numbers are ignored. */
bool evener_file_endpoints_equal(const evener_file_endpoints *a, const evener_file_endpoints *b);

/* Add an entry: an address as for evener_address_create(), or "name:port". Errors: INVALID_ARGUMENT with position and
 * reason; RESOURCE_EXHAUSTED. */
evener_status_code evener_file_endpoints_add(evener_file_endpoints *endpoints, evener_file_place place,
                                             const char *text, const evener_attribute *attributes,
                                             size_t attribute_count, evener_status *status);

/* Parse the line format: `host-or-ip:port [key=value ...] [# comment]`; "%XX" in a key or value is a byte. `text` has
 * a NUL after its `bytes` and is modified. Errors as above. Entries before an error stay. */
evener_status_code evener_file_parse_lines(const char *path, char *text, size_t bytes, evener_file_endpoints *endpoints,
                                           evener_status *status);

/* Parse the libconfig format: `endpoints = ( { address = "10.0.0.1:50051"; weight = 3; }, "10.0.0.2:50051" );` */
evener_status_code evener_file_parse_config(const char *path, const char *text, size_t bytes,
                                            evener_file_endpoints *endpoints, evener_status *status);

/* Return whether a text looks like the libconfig format: it begins with `endpoints =`, or with
 * `endpoints :` and a bracket. */
bool evener_file_looks_like_config(const char *text);

#endif
