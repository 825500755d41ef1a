/* libevener-grpc registers its transport when it is loaded, before main() or inside dlopen(). The factory is defined
 * here so that whoever links it from the static library gets the constructor too. */
#include <string.h>

#include <evener/grpc.h>
#include <evener/log.h>
#include <evener/version.h>

#include "lb/base/proxy_rules.h"
#include "lb/transport/grpc/transport.h"

/* The target chooses whether the environment's proxy is used (args.c). */
static bool uses_target(const evener_transport_args *args)
{
    return !args->ignore_http_proxy && evener_proxy_is_named(evener_proxy_getenv);
}

const evener_transport_factory evener_grpc_transport_factory = {.size = sizeof evener_grpc_transport_factory,
                                                                .create = evener_grpc_transport_create,
                                                                .uses_target = uses_target,
                                                                .shares_connections = true};

/* The two libraries share inner functions (lb/base/sibling.h), so they must be of one version. A transport "grpc" that
 * the program has registered before stays. */
__attribute__((constructor)) static void register_transport(void)
{
    if (strcmp(evener_version_string(), EVENER_VERSION_STRING) != 0) {
        evener_log(EVENER_LOG_ERROR, "transport",
                   "libevener-grpc %s does not work with libevener %s: install both of one version",
                   EVENER_VERSION_STRING, evener_version_string());
        return;
    }
    if (evener_transport_find("grpc") == NULL) {
        (void)evener_transport_register("grpc", &evener_grpc_transport_factory,
                                        NULL); /* evener_transport_choose() reports it */
    }
}
