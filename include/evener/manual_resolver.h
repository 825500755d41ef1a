/* Manual resolver: the application pushes the updates itself, through a handle.
 *
 * For tests, and for programs with a discovery of their own that do not want to write a resolver:
 *
 *     evener_manual_resolver *manual;
 *     evener_manual_resolver_create("orders", &manual, &status);
 *     const evener_resolver_builder *own[] = {evener_manual_resolver_builder(manual)};
 *     options.resolvers = own; options.resolver_count = 1;
 *     evener_channel_create("orders:///x", &options, &channel, &status);
 *     evener_manual_resolver_set(manual, "127.0.0.1:8898,127.0.0.1:8899;weight=3", NULL, &status);
 *
 *     evener_manual_resolver_destroy(manual); // at any time: nothing can be pushed any more, the channel serves on
 *
 * What was pushed last is remembered and given to every channel that starts (or starts again) with the handle, also
 * after the handle was destroyed. */
#ifndef EVENER_MANUAL_RESOLVER_H
#define EVENER_MANUAL_RESOLVER_H

#include <evener/resolver.h>

EVENER_BEGIN_DECLS

typedef struct evener_manual_resolver evener_manual_resolver;

/* Makes a handle that serves `scheme` (any, "dns" too). Errors: INVALID_ARGUMENT, RESOURCE_EXHAUSTED. Any thread. */
EVENER_API evener_status_code evener_manual_resolver_create(const char *scheme, evener_manual_resolver **manual,
                                                            evener_status *status);

/* The builder to give to a channel's or a factory's options. Those that have it keep it alive; for others it is valid
 * until the handle is destroyed. */
EVENER_API const evener_resolver_builder *evener_manual_resolver_builder(evener_manual_resolver *manual);

/* Pushes an update to every channel that uses the handle. Copies what it needs. Returns when it is stored; channels see
 * it shortly after, in order of the calls. Errors: INVALID_ARGUMENT (nothing is pushed). Any thread. */
EVENER_API evener_status_code evener_manual_resolver_update(evener_manual_resolver *manual,
                                                            const evener_resolver_update *update,
                                                            evener_status *status);

/* The same from text: a list as in the endpoint of a `static:` target, and a service config (JSON) or NULL. */
EVENER_API evener_status_code evener_manual_resolver_set(evener_manual_resolver *manual, const char *addresses,
                                                         const char *service_config, evener_status *status);

/* Reports an error to every channel that uses the handle. Any thread. */
EVENER_API void evener_manual_resolver_error(evener_manual_resolver *manual, const evener_status *error);

/* How often a channel asked to resolve again. Any thread. */
EVENER_API uint64_t evener_manual_resolver_resolve_now_count(const evener_manual_resolver *manual);

/* Gives the handle back; NULL is allowed. May come at any time: before a channel that was created with the builder has
 * resolved, while it serves, while it is idle, after it was closed. Such channels and factories serve on with what was
 * pushed last, and start again with it after having been idle; the memory goes with the last of them. A channel that
 * nothing was ever pushed to waits on. Afterwards neither the handle nor the builder may be used by the application. Any
 * thread. */
EVENER_API void evener_manual_resolver_destroy(evener_manual_resolver *manual);

EVENER_END_DECLS

#endif
