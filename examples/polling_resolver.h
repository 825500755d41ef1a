/* A resolver of a program's own that asks a function at intervals: `poll:NAME`. */
#ifndef EXAMPLES_POLLING_RESOLVER_H
#define EXAMPLES_POLLING_RESOLVER_H

#include <evener/evener.h>

#define POLLING_TEXT_BYTES 65536

/* Write the backends of `name` into `text`, separated by blanks: "10.0.0.1:80 10.0.0.2:80". Control thread; must not
 * block: a program that asks a service over the network does so on a thread of its own and answers from its last
 * result. */
typedef evener_status_code (*polling_fetch)(const char *name, char text[POLLING_TEXT_BYTES], evener_status *status);

/* Fill a builder for evener_resolver_register() or evener_channel_options.resolvers. Resolver option
 * "poll.interval_ms": 100 to 3600000, by default 5000. */
void polling_resolver_init(evener_resolver_builder *builder, polling_fetch *fetch);

#endif
