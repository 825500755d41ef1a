/* A resolver whose list is fixed at creation. */
#ifndef EVENER_RESOLVER_FIXED_H
#define EVENER_RESOLVER_FIXED_H

#include <evener/resolver.h>

#include "resolver/list.h"

/* Create a resolver. On success it owns the content of the list (`list` is then empty). `source` is a static string.
 * Errors: RESOURCE_EXHAUSTED. */
evener_status_code evener_fixed_resolver_create(const evener_resolver_args *args, evener_list *list, const char *source,
                                                evener_resolver **resolver, evener_status *status);

#endif
