/* Which transport a suite runs over. Suites that are registered with evener_test_transports() run once per built-in
 * transport: channels follow EVENER_TRANSPORT by themselves. */
#ifndef TESTS_SUPPORT_TRANSPORT_CHOICE_H
#define TESTS_SUPPORT_TRANSPORT_CHOICE_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Return the name of the transport that channels of this process use by default. */
static inline const char *chosen_transport(void)
{
    const char *name = getenv("EVENER_TRANSPORT");
    return name != NULL && *name != '\0' ? name : "grpc";
}

/* Return whether that is the gRPC C core: some features exist there only, and it words its errors in its own way. */
static inline bool on_core(void)
{
    return strcmp(chosen_transport(), "grpc") == 0;
}

/* Skip a Criterion test of what only the core has. */
#define ONLY_ON_CORE(why)                                                                                              \
    do {                                                                                                               \
        if (!on_core()) {                                                                                              \
            cr_skip_test("only on the transport \"grpc\": %s", why);                                                   \
        }                                                                                                              \
    } while (0)

#endif
