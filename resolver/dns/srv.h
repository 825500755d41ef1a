/* SRV: the resolver of service names (RFC 2782), for `srv:` and for `dns:` targets that name a service. */
#ifndef EVENER_RESOLVER_DNS_SRV_H
#define EVENER_RESOLVER_DNS_SRV_H

#include <evener/resolver.h>

/* Return whether a `dns:` target names a service: "_grpc._tcp.orders.prod", without a port. */
bool evener_dns_srv_serves(const evener_target *target);

/* The functions of a builder; `builder->user_data` is the evener_dns_client, NULL: c-ares. */
evener_status_code evener_dns_srv_build(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                        evener_resolver **resolver, evener_status *status);
evener_status_code evener_dns_srv_check(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                        evener_status *status);
evener_status_code evener_dns_srv_authority(const evener_resolver_builder *builder, const evener_target *target,
                                            char *buffer, size_t buffer_bytes, evener_status *status);

#endif
