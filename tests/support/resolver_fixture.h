/* One resolver on a virtual loop, with a sink that records:
 *
 *     resolver_fixture *f = resolver_fixture_create();
 *     resolver_fixture_open(f, "static:10.0.0.1:80");           // looks up, builds, starts; asserts that it works
 *     cr_assert_str_eq(f->sink.addresses, "10.0.0.1:80");
 *     virtual_loop_advance_ms(f->loop, 100);
 *     resolver_fixture_destroy(f);
 *
 * Own builders, options and the default port are set in between. */
#ifndef EVENER_TESTS_SUPPORT_RESOLVER_FIXTURE_H
#define EVENER_TESTS_SUPPORT_RESOLVER_FIXTURE_H

#include <evener/resolver.h>
#include <evener/runtime.h>

#include "tests/support/recording_sink.h"
#include "tests/support/virtual_loop.h"

typedef struct resolver_fixture {
    virtual_loop *loop; /* NULL on a real one */
    evener_runtime *runtime;
    recording_sink sink;
    evener_resolver_set set;         /* the test's: borrowed */
    const evener_attribute *options; /* the test's: borrowed */
    size_t option_count;
    uint32_t default_port; /* 443 */
    evener_target *target;
    evener_resolver *resolver; /* NULL: closed */
    evener_status status;      /* of the last open */
} resolver_fixture;

/* On a virtual loop. */
resolver_fixture *resolver_fixture_create(void);

/* On a control thread of its own: f->loop is NULL, and the sink is looked at through resolver_fixture_wait() only. */
resolver_fixture *resolver_fixture_create_on_thread(void);

/* Waits until `condition`, asked on the control thread, holds; false after 10 s. */
bool resolver_fixture_wait(resolver_fixture *f, bool (*condition)(const recording_sink *sink, void *arg), void *arg);

/* The same for the addresses of the last update. */
bool resolver_fixture_wait_addresses(resolver_fixture *f, const char *addresses);

/* Looks up and builds, without starting. The code and f->status say how it went. */
evener_status_code resolver_fixture_build(resolver_fixture *f, const char *target);

/* Builds and starts, and asserts that it works. */
void resolver_fixture_open(resolver_fixture *f, const char *target);

/* Closes the resolver, if there is one. */
void resolver_fixture_close(resolver_fixture *f);

void resolver_fixture_destroy(resolver_fixture *f);

#endif
