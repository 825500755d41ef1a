/* The transport "http2", as channels find it by name. */
#ifndef EVENER_LB_TRANSPORT_HTTP2_FACTORY_H
#define EVENER_LB_TRANSPORT_HTTP2_FACTORY_H

#include <evener/transport.h>

extern const evener_transport_factory evener_http2_transport_factory;

#endif
