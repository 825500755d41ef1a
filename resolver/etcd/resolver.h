/* The builder of `etcd:`. */
#ifndef EVENER_RESOLVER_ETCD_RESOLVER_H
#define EVENER_RESOLVER_ETCD_RESOLVER_H

#include <evener/resolver.h>

extern const evener_resolver_builder evener_etcd_resolver_builder;

#endif
