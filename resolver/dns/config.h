/* Config: the service config in a name's TXT record (A2, service config in DNS), watched for changes. Off by
 * default, as in the C core. Control thread. */
#ifndef EVENER_RESOLVER_DNS_CONFIG_H
#define EVENER_RESOLVER_DNS_CONFIG_H

#include <evener/resolver.h>

#include "resolver/dns/lookup.h"
#include "resolver/retry.h"

/* Embedded in a resolver. */
typedef struct evener_dns_config {
    evener_dns_watch watch;
    evener_runtime *runtime;
    evener_dns_client *client;
    const char *name;                  /* the owner's, without the prefix */
    const evener_dns_options *options; /* the owner's */
    evener_retry unstarted;            /* active: the watch could not be started */
    void (*changed)(void *arg);
    void *arg;
    bool waiting; /* for the first answer: no push before it, so that the first policy is the right one */
    char *json;   /* NULL: none */
    evener_status error;
    uint32_t percentile; /* drawn once per client, so that a refresh does not change its choice */
    char hostname[256];
} evener_dns_config;

/* Watch `_grpc_config.` + name if the options enable it. `name` and `options` live until stop. `changed(arg)` runs on
 * every new answer, also when there is no record.
 * A watch that cannot be started counts as a failed query, and is started after a backoff. */
void evener_dns_config_start(evener_dns_config *config, evener_runtime *runtime, evener_dns_client *client,
                             const char *name, const evener_dns_options *options, void (*changed)(void *arg),
                             void *arg);

/* Retry a failed query at once. */
void evener_dns_config_reset_backoff(evener_dns_config *config);

/* Stop the watch. A zeroed config that was never started is allowed. */
void evener_dns_config_stop(evener_dns_config *config);

/* Set the service config members of an update; valid until the config changes. */
void evener_dns_config_fill(const evener_dns_config *config, evener_resolver_update *update);

#endif
