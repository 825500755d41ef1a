/* SRV: the resolver of a service's name (RFC 2782), for `srv:` and for `dns:` targets that name a service. */
#ifndef EVENER_RESOLVER_DNS_SRV_H
#define EVENER_RESOLVER_DNS_SRV_H

#include <evener/resolver.h>

/* Whether a `dns:` target is one: "_grpc._tcp.orders.prod", without a port. */
bool evener_dns_srv_serves(const evener_target *target);

/* As a builder's functions; `builder->user_data` is the evener_dns_client, NULL: c-ares. */
evener_status_code evener_dns_srv_build(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                        evener_resolver **resolver, evener_status *status);
evener_status_code evener_dns_srv_check(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                        evener_status *status);
evener_status_code evener_dns_srv_authority(const evener_resolver_builder *builder, const evener_target *target,
                                            char *buffer, size_t buffer_bytes, evener_status *status);

#endif
