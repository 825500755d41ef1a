/* The operation ids of an OpenAPI document. */
#ifndef EVENER_LB_PROTOBUF_OPENAPI_IDS_H
#define EVENER_LB_PROTOBUF_OPENAPI_IDS_H

#include "lb/protobuf/http_routes_internal.h"

/* Return an id for each route, in the order of routes->list; no two are equal. List and ids are to be freed. NULL: out
 * of memory. */
char **evener_openapi_ids(const evener_http_routes *routes);

#endif
