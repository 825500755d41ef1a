/* Manual resolver: the application pushes updates through a handle.
 *
 * For tests, and for programs that have their own service discovery but do not want to write a resolver:
 *
 *     evener_manual_resolver *manual;
 *     evener_manual_resolver_create("orders", &manual, &status);
 *     const evener_resolver_builder *own[] = {evener_manual_resolver_builder(manual)};
 *     options.resolvers = own; options.resolver_count = 1;
 *     evener_channel_create("orders:///x", &options, &channel, &status);
 *     evener_manual_resolver_set(manual, "127.0.0.1:8898,127.0.0.1:8899;weight=3", NULL, &status);
 *
 *     evener_manual_resolver_destroy(manual); // at any time: no further pushes; the channel keeps its last update
 *
 * The last update is kept. Every channel that starts (or restarts) with the handle gets it, also after the handle was
 * destroyed. */
#ifndef EVENER_MANUAL_RESOLVER_H
#define EVENER_MANUAL_RESOLVER_H

#include <evener/resolver.h>

EVENER_BEGIN_DECLS

typedef struct evener_manual_resolver evener_manual_resolver;

/* Create a handle that serves `scheme` (any scheme, also "dns"). Errors: INVALID_ARGUMENT, RESOURCE_EXHAUSTED. Any
 * thread. */
EVENER_API evener_status_code evener_manual_resolver_create(const char *scheme, evener_manual_resolver **manual,
                                                            evener_status *status);

/* Return the builder for a channel's or factory's options. Channels and factories keep the builder alive. Otherwise it
 * is valid until the handle is destroyed. */
EVENER_API const evener_resolver_builder *evener_manual_resolver_builder(evener_manual_resolver *manual);

/* Push an update to every channel that uses the handle. Copy the arguments. Return when the update is stored;
 * channels receive updates shortly after, in the order of the calls. A channel that refuses an update (out of memory, a
 * bad service config, ...) serves on with its last good list and is given the update again, after a second and with a
 * growing interval. Errors: INVALID_ARGUMENT (nothing is pushed), RESOURCE_EXHAUSTED. Any thread. */
EVENER_API evener_status_code evener_manual_resolver_update(evener_manual_resolver *manual,
                                                            const evener_resolver_update *update,
                                                            evener_status *status);

/* Push an update from text: a list as in the endpoint of a `static:` target, and a service config (JSON) or NULL. */
EVENER_API evener_status_code evener_manual_resolver_set(evener_manual_resolver *manual, const char *addresses,
                                                         const char *service_config, evener_status *status);

/* Report an error to every channel that uses the handle. Any thread. */
EVENER_API void evener_manual_resolver_error(evener_manual_resolver *manual, const evener_status *error);

/* Return how many times channels asked to resolve again. Any thread. */
EVENER_API uint64_t evener_manual_resolver_resolve_now_count(const evener_manual_resolver *manual);

/* Release the handle; NULL is allowed. May be called at any time: before a channel that was created with the builder
 * has resolved, while it is in use or idle, or after it was closed. Such channels and factories keep the last
 * update, and restart with it after being idle. The memory is freed with the last of them. A channel without any
 * update keeps waiting. The application must not use the handle or the builder afterwards. Any thread. */
EVENER_API void evener_manual_resolver_destroy(evener_manual_resolver *manual);

EVENER_END_DECLS

#endif
