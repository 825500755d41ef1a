/* Config: the service config that a name's TXT record carries (A2), followed as it changes. Off unless asked for, as in
 * core. Control thread. */
#ifndef EVENER_RESOLVER_DNS_CONFIG_H
#define EVENER_RESOLVER_DNS_CONFIG_H

#include <evener/resolver.h>

#include "resolver/dns/lookup.h"

/* Embedded in a resolver. */
typedef struct evener_dns_config {
    evener_dns_watch watch;
    bool (*changed)(void *arg);
    void *arg;
    bool waiting; /* for the first answer: nothing should be pushed before, so that the first policy is the right one */
    char *json;   /* NULL: none */
    evener_status error;
    uint32_t percentile; /* the client's, for as long as it lives: an answer again does not change its choice */
    char hostname[256];
} evener_dns_config;

/* Follows `_grpc_config.` + name if the options say so. `changed(arg)` runs when there is another answer, also when it
 * is known that there is none; never from inside start. It returns whether the update was accepted. */
void evener_dns_config_start(evener_dns_config *config, evener_runtime *runtime, evener_dns_client *client,
                             const char *name, const evener_dns_options *options, bool (*changed)(void *arg),
                             void *arg);

/* Also for one that was zeroed and never started. */
void evener_dns_config_stop(evener_dns_config *config);

/* Sets what an update carries of it; valid until the config changes. */
void evener_dns_config_fill(const evener_dns_config *config, evener_resolver_update *update);

#endif
