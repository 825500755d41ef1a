/* Reference counting of builders that have evener_resolver_builder.ref. */
#include <evener/resolver.h>

/* A builder compiled against an older evener ends before ref and unref. */
static bool is_counted(const evener_resolver_builder *builder)
{
    return builder != NULL && builder->size >= offsetof(evener_resolver_builder, unref) + sizeof builder->unref &&
           builder->ref != NULL && builder->unref != NULL;
}

void evener_resolver_builders_ref(const evener_resolver_builder *const *builders, size_t count)
{
    for (size_t i = 0; builders != NULL && i < count; i++) {
        if (is_counted(builders[i])) {
            builders[i]->ref(builders[i]);
        }
    }
}

void evener_resolver_builders_unref(const evener_resolver_builder *const *builders, size_t count)
{
    for (size_t i = 0; builders != NULL && i < count; i++) {
        if (is_counted(builders[i])) {
            builders[i]->unref(builders[i]);
        }
    }
}
