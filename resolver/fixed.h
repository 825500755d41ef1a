/* A resolver whose list is known when it is made and never changes. */
#ifndef EVENER_RESOLVER_FIXED_H
#define EVENER_RESOLVER_FIXED_H

#include <evener/resolver.h>

#include "resolver/list.h"

/* Takes over the list's content on success (`list` is empty then). `source` is a static string for the update. Errors:
 * RESOURCE_EXHAUSTED. */
evener_status_code evener_fixed_resolver_create(const evener_resolver_args *args, evener_list *list, const char *source,
                                                evener_resolver **resolver, evener_status *status);

#endif
