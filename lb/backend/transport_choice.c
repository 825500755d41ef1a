/* The choice of a transport, and the one place that knows of libevener-grpc.
 *
 * The factory of "grpc" is a weak reference here. The dynamic linker resolves it once, when it relocates libevener: to
 * the factory if libevener-grpc is loaded by the same start of the program or the same dlopen(), else to NULL. A later
 * dlopen() of libevener-grpc registers the transport but does not change this reference, so the default stays. In a
 * static link the reference is resolved only if something else brings the factory in. */
#include "lb/backend/transport_choice.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <evener/log.h>
#include <evener/version.h>

#define GRPC "grpc"
#define GRPC_LIBRARY "libevener-grpc.so.1"

extern const evener_transport_factory evener_grpc_transport_factory
    __attribute__((weak, visibility("default"))); /* declared in evener/grpc.h, without `weak` */

const char *evener_transport_default(void)
{
    return &evener_grpc_transport_factory != NULL ? GRPC : "http2";
}

/* Load the library; its constructor registers the transport. It is never unloaded. */
static evener_status_code load_grpc(const evener_transport_factory **factory, evener_status *status)
{
    if (dlopen(GRPC_LIBRARY, RTLD_NOW | RTLD_LOCAL) == NULL) {
        const char *reason = dlerror();
        evener_log(EVENER_LOG_WARNING, "transport", "%s", reason != NULL ? reason : GRPC_LIBRARY " cannot be loaded");
        return evener_status_set(status, EVENER_STATUS_FAILED_PRECONDITION,
                                 "transport \"grpc\" needs the package libevener-grpc");
    }
    *factory = evener_transport_find(GRPC);
    if (*factory == NULL) {
        return evener_status_set(status, EVENER_STATUS_FAILED_PRECONDITION,
                                 "transport \"grpc\" needs the package libevener-grpc, version %s: " GRPC_LIBRARY
                                 " is of another version, or belongs to another copy of libevener",
                                 EVENER_VERSION_STRING);
    }
    return evener_status_clear(status);
}

evener_status_code evener_transport_choose(const char *name, const evener_transport_factory **factory,
                                           evener_status *status)
{
    const char *source = "options.transport_name";
    if (name == NULL) {
        const char *from_environment = getenv("EVENER_TRANSPORT");
        const bool is_set = from_environment != NULL && from_environment[0] != '\0';
        source = is_set ? "EVENER_TRANSPORT in the environment" : "the default";
        name = is_set ? from_environment : evener_transport_default();
    }
    const evener_transport_factory *found = evener_transport_find(name);
    if (found == NULL && strcmp(name, GRPC) == 0) {
        const evener_status_code code = load_grpc(&found, status);
        if (code != EVENER_STATUS_OK) {
            return code;
        }
    }
    if (found == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "channel options: no transport \"%.64s\" is registered (%s): \"http2\" is built in, "
                                 "\"grpc\" is in libevener-grpc, others are added by evener_transport_register()",
                                 name, source);
    }
    *factory = found;
    return evener_status_clear(status);
}
