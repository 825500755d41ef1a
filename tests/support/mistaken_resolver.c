#include "tests/support/mistaken_resolver.h"

#include <stdlib.h>

static evener_resolver_sink *last_sink;

static void do_nothing(evener_resolver *resolver)
{
    (void)resolver;
}

static void free_resolver(evener_resolver *resolver)
{
    free(resolver);
}

static const evener_resolver_vtable vtable = {.size = sizeof vtable, .start = do_nothing, .close = free_resolver};

evener_status_code mistaken_resolver_build(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                           evener_resolver **resolver, evener_status *status)
{
    (void)builder, (void)status;
    *resolver = calloc(1, sizeof **resolver);
    (*resolver)->vtable = &vtable;
    last_sink = args->sink;
    return EVENER_STATUS_OK;
}

evener_resolver_sink *mistaken_resolver_last_sink(void)
{
    return last_sink;
}
