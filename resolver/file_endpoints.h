/* What a file of endpoints says, entry by entry, and the two forms it may have. */
#ifndef EVENER_RESOLVER_FILE_ENDPOINTS_H
#define EVENER_RESOLVER_FILE_ENDPOINTS_H

#include <stdbool.h>
#include <stddef.h>

#include <evener/address.h>
#include <evener/status.h>

#define EVENER_FILE_BYTES_MAX 33554432 /* 32 MiB; a larger file is refused: it is read on the control thread */
#define EVENER_FILE_HOSTS_MAX 1000     /* host names in one file: each costs a resolver */

typedef struct evener_file_entry {
    evener_address *address; /* owned. Of a host name: stands for its port and attributes only */
    char *host;              /* owned, "name:port"; NULL: `address` is the endpoint */
    size_t line;
} evener_file_entry;

typedef struct evener_file_endpoints {
    evener_file_entry *entries;
    size_t count;
    size_t capacity;
    size_t host_count;
} evener_file_endpoints;

/* Where an entry stands, for messages. */
typedef struct evener_file_place {
    const char *path;
    size_t line;
} evener_file_place;

void evener_file_endpoints_clear(evener_file_endpoints *endpoints);

/* Whether both have the same entries in the same order, wherever they stand. */
bool evener_file_endpoints_equal(const evener_file_endpoints *a, const evener_file_endpoints *b);

/* Adds one: an address as evener_address_create() takes it, or "name:port". Errors: INVALID_ARGUMENT with place and
 * reason; RESOURCE_EXHAUSTED. */
evener_status_code evener_file_endpoints_add(evener_file_endpoints *endpoints, evener_file_place place,
                                             const char *text, const evener_attribute *attributes,
                                             size_t attribute_count, evener_status *status);

/* The line form: `host-or-ip:port [key=value ...] [# comment]`, "%XX" in a key or value standing for a byte. `text` has
 * a NUL behind its `bytes` and is cut to pieces. Errors as above. Entries from before an error stay. */
evener_status_code evener_file_parse_lines(const char *path, char *text, size_t bytes, evener_file_endpoints *endpoints,
                                           evener_status *status);

/* The libconfig form: `endpoints = ( { address = "10.0.0.1:50051"; weight = 3; }, "10.0.0.2:50051" );` */
evener_status_code evener_file_parse_config(const char *path, const char *text, size_t bytes,
                                            evener_file_endpoints *endpoints, evener_status *status);

/* Whether a text without a telling name looks like the libconfig form: it begins with `endpoints =`, or with
 * `endpoints :` and a bracket. */
bool evener_file_looks_like_config(const char *text);

#endif
