/* Options: the settings of a connection to etcd and of a service in it, from a target with resolver options
 * (`etcd.user` and so on), or from the options of a registration.
 *
 *     etcd://10.0.0.1:2379,etcd2.prod:2379/orders */
#ifndef EVENER_RESOLVER_ETCD_OPTIONS_H
#define EVENER_RESOLVER_ETCD_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include <evener/resolver.h>
#include <evener/status.h>

#include "resolver/etcd/layout.h"

#define EVENER_ETCD_DEFAULT_PORT 2379
#define EVENER_ETCD_MEMBERS_MAX 64
#define EVENER_ETCD_NAMES_MAX 16 /* of them by name; all addresses count as one: targets of a `merge:` */

typedef struct evener_etcd_options {
    char *members;      /* the target's authority, for messages */
    char *inner_target; /* of the channel to the members */
    unsigned named_members;
    bool has_several_members;
    evener_etcd_layout layout;
    char *user, *password, *password_file; /* NULL: none */
    char *ca, *certificate, *key;          /* names of PEM files; NULL: none */
    char *server_name;                     /* that TLS verifies; NULL: each member's own */
    bool tls;
    uint64_t page, timeout_ms, backoff_max_ms;
} evener_etcd_options;

/* Options that several objects hold until their last call has ended. References are counted on the control thread. */
typedef struct evener_etcd_shared_options {
    evener_etcd_options options;
    unsigned references;
} evener_etcd_shared_options;

/* Make shared options with one reference; *options is moved into them. NULL: no memory; *options is unchanged then. */
evener_etcd_shared_options *evener_etcd_shared_options_create(evener_etcd_options *options);
evener_etcd_shared_options *evener_etcd_shared_options_ref(evener_etcd_shared_options *shared);
void evener_etcd_shared_options_unref(evener_etcd_shared_options *shared);

/* Read and check a target and its options; opens no file. On success the caller clears *options. Errors:
 * INVALID_ARGUMENT (names the option or the place), RESOURCE_EXHAUSTED. Any thread. */
evener_status_code evener_etcd_options_read(const evener_resolver_args *args, evener_etcd_options *options,
                                            evener_status *status);
void evener_etcd_options_clear(evener_etcd_options *options);

#endif
