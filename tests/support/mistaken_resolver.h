/* A resolver that pushes nothing by itself: a test pushes updates with mistakes for it, NULL among the addresses say. */
#ifndef EVENER_TESTS_SUPPORT_MISTAKEN_RESOLVER_H
#define EVENER_TESTS_SUPPORT_MISTAKEN_RESOLVER_H

#include <evener/resolver.h>

/* `build` of a builder. */
evener_status_code mistaken_resolver_build(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                           evener_resolver **resolver, evener_status *status);

/* Return the sink of the resolver that was built last. */
evener_resolver_sink *mistaken_resolver_last_sink(void);

#endif
