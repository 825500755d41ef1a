/* Builders that somebody keeps beyond a call: counted, if they can be (evener_resolver_builder.ref). */
#ifndef EVENER_RESOLVER_BUILDER_H
#define EVENER_RESOLVER_BUILDER_H

#include <evener/resolver.h>

/* sizeof(evener_resolver_builder) of the first version, which ended with user_data. */
#define EVENER_RESOLVER_BUILDER_BYTES_MIN                                                                              \
    (offsetof(evener_resolver_builder, user_data) + sizeof(((evener_resolver_builder *)0)->user_data))

/* Take, and give back, a reference to each of `count` builders. Those that are NULL or not counted are left alone, as is
 * a list that is NULL. Any thread. */
void evener_resolver_builders_ref(const evener_resolver_builder *const *builders, size_t count);
void evener_resolver_builders_unref(const evener_resolver_builder *const *builders, size_t count);

#endif
