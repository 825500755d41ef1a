/* The built-in resolvers; registry.c lists them. */
#ifndef EVENER_RESOLVER_BUILTIN_H
#define EVENER_RESOLVER_BUILTIN_H

#include <evener/resolver.h>

extern const evener_resolver_builder evener_dns_resolver;
extern const evener_resolver_builder evener_fallback_resolver;
extern const evener_resolver_builder evener_file_resolver;
extern const evener_resolver_builder evener_ipv4_resolver;
extern const evener_resolver_builder evener_ipv6_resolver;
extern const evener_resolver_builder evener_merge_resolver;
extern const evener_resolver_builder evener_native_resolver;
extern const evener_resolver_builder evener_srv_resolver;
extern const evener_resolver_builder evener_static_resolver;
extern const evener_resolver_builder evener_unix_abstract_resolver;
extern const evener_resolver_builder evener_unix_resolver;
extern const evener_resolver_builder evener_vsock_resolver;

#endif
