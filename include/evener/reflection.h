/* Reflection: the types of a server, asked of the server itself (grpc: doc/server-reflection.md). In the library
 * libevener-protobuf-c.
 *
 *     evener_descriptors *types;
 *     evener_descriptors_create(&types, &status);
 *     if (evener_reflection_add(channel, "orders.Orders", NULL, types, &status) == EVENER_STATUS_OK)
 *         method = evener_descriptors_method(types, "orders.Orders/Get");
 *
 * Each function is one stream to one backend of the channel: grpc.reflection.v1.ServerReflection, or v1alpha if the
 * server answers UNIMPLEMENTED. It blocks until the answer is complete or the deadline has passed, and fails on the
 * control thread as every blocking call does. Any thread; the caller lets only one thread at a time add to a pool,
 * and no other thread read it meanwhile.
 * `options` is that of a call (evener/call.h): NULL is the default; timeout_ms 0 is EVENER_REFLECTION_TIMEOUT_MS;
 * `details` is not used.
 *
 * Errors: UNIMPLEMENTED (the server offers no reflection), NOT_FOUND (it does not know the symbol), what the server or
 * the channel reports, INTERNAL (answers that are not reflection's), RESOURCE_EXHAUSTED (a limit, or memory). */
#ifndef EVENER_REFLECTION_H
#define EVENER_REFLECTION_H

#include <stddef.h>

#include <evener/call.h>
#include <evener/channel.h>
#include <evener/descriptors.h>
#include <evener/export.h>
#include <evener/status.h>

EVENER_BEGIN_DECLS

#define EVENER_REFLECTION_TIMEOUT_MS 10000
#define EVENER_REFLECTION_FILES_MAX 10000    /* that one function asks for */
#define EVENER_REFLECTION_SERVICES_MAX 10000 /* that a server lists */

/* List the full names of the server's services, sorted. On OK store an array of *count names in *names, one block of
 * memory for free(). */
EVENER_API evener_status_code evener_reflection_services(evener_channel *channel, const evener_call_options *options,
                                                         char ***names, size_t *count, evener_status *status);

/* Add the file that declares `symbol` (the full name of a service, method, message or enum) and everything that it
 * imports to `descriptors`. Files that these already have are not asked for. Imports that the server does not have may
 * be missing, as in evener_descriptors_add_files(), whose errors may come, too. After an error nothing was added. */
EVENER_API evener_status_code evener_reflection_add(evener_channel *channel, const char *symbol,
                                                    const evener_call_options *options, evener_descriptors *descriptors,
                                                    evener_status *status);

EVENER_END_DECLS

#endif
