/* One resolver on a virtual loop, with a recording sink:
 *
 *     resolver_fixture *f = resolver_fixture_create();
 *     resolver_fixture_open(f, "static:10.0.0.1:80");           // looks up, builds, starts; asserts success
 *     cr_assert_str_eq(f->sink.addresses, "10.0.0.1:80");
 *     virtual_loop_advance_ms(f->loop, 100);
 *     resolver_fixture_destroy(f);
 *
 * Set custom builders, options and the default port between create and open. */
#ifndef EVENER_TESTS_SUPPORT_RESOLVER_FIXTURE_H
#define EVENER_TESTS_SUPPORT_RESOLVER_FIXTURE_H

#include <evener/resolver.h>
#include <evener/runtime.h>

#include "tests/support/recording_sink.h"
#include "tests/support/virtual_loop.h"

typedef struct resolver_fixture {
    virtual_loop *loop; /* NULL on a real loop */
    evener_runtime *runtime;
    recording_sink sink;
    evener_resolver_set set;         /* borrowed from the test */
    const evener_attribute *options; /* borrowed from the test */
    size_t option_count;
    uint32_t default_port; /* 443 */
    evener_target *target;
    evener_resolver *resolver; /* NULL: closed */
    evener_status status;      /* of the last open */
} resolver_fixture;

/* Create a fixture on a virtual loop. */
resolver_fixture *resolver_fixture_create(void);

/* Create a fixture on a runtime with its own control thread. f->loop is NULL; read the sink only through
 * resolver_fixture_wait(). */
resolver_fixture *resolver_fixture_create_on_thread(void);

/* Wait until `condition` holds; it is evaluated on the control thread. Return false after 10 s. */
bool resolver_fixture_wait(resolver_fixture *f, bool (*condition)(const recording_sink *sink, void *arg), void *arg);

/* Wait until the last update has these addresses. Return false after 10 s. */
bool resolver_fixture_wait_addresses(resolver_fixture *f, const char *addresses);

/* Look up the target's resolver and build it, without starting it. Return the code; f->status has the message. */
evener_status_code resolver_fixture_build(resolver_fixture *f, const char *target);

/* Build and start the resolver; assert success. */
void resolver_fixture_open(resolver_fixture *f, const char *target);

/* Close the resolver, if there is one. */
void resolver_fixture_close(resolver_fixture *f);

void resolver_fixture_destroy(resolver_fixture *f);

#endif
