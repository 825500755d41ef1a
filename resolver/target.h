/* Target, the internal part: the directory that a relative path counts from, and where the resolvers of its parts
 * are. */
#ifndef EVENER_RESOLVER_TARGET_H
#define EVENER_RESOLVER_TARGET_H

#include <evener/resolver.h>
#include <evener/target.h>

/* Return the working directory of the time when the target was parsed, for `file:` with a relative path and for
 * compositions, whose children may be such; NULL: it is of no interest, or could not be read. Any thread. */
const char *evener_target_directory(const evener_target *target);

/* Let a part of a composition count from the directory of the whole. Out of memory: it keeps its own. */
void evener_target_inherit_directory(evener_target *part, const evener_target *whole);

/* The set in which the target's builder was looked up, for compositions: their children may be resolvers of the same
 * channel. Without one: empty, which stands for the process-wide registry alone. `set` may be NULL; its builders must
 * outlive the target. */
void evener_target_set_resolvers(evener_target *target, const evener_resolver_set *set);
const evener_resolver_set *evener_target_resolvers(const evener_target *target);

#endif
