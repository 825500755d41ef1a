/* A channel on a virtual loop, with a manual resolver and a fake transport: what tests of the channel start from.
 *
 *     fixture *f = fixture_create(&(evener_channel_options){.policy = "round_robin"});
 *     fixture_push(f, "127.0.0.1:1,127.0.0.1:2");
 *     fixture_connect(f);
 *     cr_assert_str_eq(fixture_pick(f), "127.0.0.1:1");
 *     fixture_destroy(f); */
#ifndef EVENER_TESTS_SUPPORT_CHANNEL_FIXTURE_H
#define EVENER_TESTS_SUPPORT_CHANNEL_FIXTURE_H

#include <evener/channel.h>
#include <evener/manual_resolver.h>

#include "tests/support/fake_transport.h"
#include "tests/support/virtual_loop.h"

typedef struct fixture {
    virtual_loop *loop;
    evener_runtime *runtime;
    fake_transport *transport;
    evener_manual_resolver *resolver;
    evener_channel *channel;
    char picked[EVENER_ADDRESS_BYTES_MAX];
} fixture;

/* Open "orders:///x" with the options (NULL: round_robin), adding runtime, transport and resolver. */
fixture *fixture_create(const evener_channel_options *options);
/* Open it over a transport that does not count connections: picks take the fast path. */
fixture *fixture_create_uncounted(const evener_channel_options *options);
/* Open it over a transport that carries calls, each as the script says (fake_transport_carry_calls()). */
fixture *fixture_create_calling(const evener_channel_options *options, fake_call_script script, void *arg);
/* Give everything back and check that nothing was left: no connection, no reference. */
void fixture_destroy(fixture *f);

/* Push a list (and a service config) through the manual resolver, and let everything happen that is due now. */
void fixture_push(fixture *f, const char *addresses);
void fixture_push_config(fixture *f, const char *addresses, const char *service_config);

/* Connect, and let everything happen that is due now. */
void fixture_connect(fixture *f);

/* Pick and end the pick at once: the backend's address, "queue", or "CODE: message". Valid until the next. */
const char *fixture_pick(fixture *f);

/* Pick and end the pick with this code. Returns as fixture_pick(). */
const char *fixture_call(fixture *f, evener_status_code code);

/* Return a snapshot of one backend's statistics; assert that it is in the list. */
struct evener_subchannel_stats fixture_stats(fixture *f, const char *address);

#endif
