/* What a program calls to have `etcd:`. */
#include <evener/etcd.h>

#include "resolver/etcd/resolver.h"

evener_status_code evener_etcd_register_resolver(evener_status *status)
{
    return evener_resolver_register(&evener_etcd_resolver_builder, status);
}

const evener_resolver_builder *evener_etcd_resolver(void)
{
    return &evener_etcd_resolver_builder;
}
