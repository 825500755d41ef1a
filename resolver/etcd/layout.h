/* Layout: how a program that registers itself writes an endpoint into etcd.
 *
 *     layout    keys                                value
 *     naming    <service>/<anything>                {"Op":0,"Addr":"10.0.0.1:80","Metadata":{"weight":3}}
 *     go-zero   <service>/<lease id>                10.0.0.1:80
 *     kratos    <namespace>/<service>/<id>          {"name":"<service>","endpoints":["grpc://10.0.0.1:80"],
 *                                                    "version":"1","metadata":{"weight":"3"}}
 *     plain     <service>/<anything or 10.0.0.1:80> 10.0.0.1:80, or any text if the key has the address
 *
 * Sources: etcd client/v3/naming/endpoints, go-zero core/discov, kratos contrib/registry/etcd. Values are foreign: what
 * cannot be read is refused with the reason. Any thread. */
#ifndef EVENER_RESOLVER_ETCD_LAYOUT_H
#define EVENER_RESOLVER_ETCD_LAYOUT_H

#include <stdbool.h>

#include <evener/address.h>
#include <evener/status.h>

#include "resolver/etcd/messages.h"

#define EVENER_ETCD_VALUE_BYTES_MAX ((size_t)64 * 1024) /* a longer value is refused */

typedef enum evener_etcd_layout_kind {
    EVENER_ETCD_LAYOUT_NAMING = 0,
    EVENER_ETCD_LAYOUT_GO_ZERO,
    EVENER_ETCD_LAYOUT_KRATOS,
    EVENER_ETCD_LAYOUT_PLAIN,
} evener_etcd_layout_kind;

typedef struct evener_etcd_layout {
    evener_etcd_layout_kind kind;
    char *service;
    char *prefix;       /* of the keys */
    const char *scheme; /* kratos: of the endpoints taken, "grpc" */
    bool secure;        /* kratos: take the endpoints with TLS instead of those without */
} evener_etcd_layout;

/* Find a layout by its name, "naming", "go-zero", "kratos" or "plain". False: there is none. */
bool evener_etcd_layout_find(const char *name, evener_etcd_layout_kind *kind);

/* Fill the layout of a service. `namespace` is for kratos; NULL: "/microservices". False: no memory. The caller clears
 * it in both cases. */
bool evener_etcd_layout_init(evener_etcd_layout *layout, evener_etcd_layout_kind kind, const char *service,
                             const char *name_space);
void evener_etcd_layout_clear(evener_etcd_layout *layout);

/* Read an entry. On success store a reference, or NULL if the entry is no endpoint of the service. Errors:
 * INVALID_ARGUMENT with the reason (without the key), RESOURCE_EXHAUSTED. */
evener_status_code evener_etcd_layout_read(const evener_etcd_layout *layout, const evener_etcd_key_value *kv,
                                           evener_address **address, evener_status *status);

/* Write key and value of an endpoint, for registration. `id` makes the key unique. Owned texts. Errors: as above. */
evener_status_code evener_etcd_layout_write(const evener_etcd_layout *layout, const char *id, const char *address,
                                            const evener_attribute *attributes, size_t attribute_count, char **key,
                                            char **value, evener_status *status);

#endif
