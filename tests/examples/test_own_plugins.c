/* A program's own resolver and transport (examples/), over loopback. */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>

#include "polling_resolver.h"
#include "tcp_transport.h"

static char backends[256]; /* the result of fetch(); ordered by the atomics around it */
static unsigned fetches;

static evener_status_code fetch(const char *name, char text[POLLING_TEXT_BYTES], evener_status *status)
{
    cr_assert_str_eq(name, "orders");
    (void)__atomic_fetch_add(&fetches, 1, __ATOMIC_ACQ_REL);
    if (backends[0] == '\0') {
        return evener_status_set(status, EVENER_STATUS_NOT_FOUND, "nobody knows orders");
    }
    (void)snprintf(text, POLLING_TEXT_BYTES, "%s", backends);
    return EVENER_STATUS_OK;
}

static polling_fetch fetch_pointer = fetch;

static int listen_on(char address[64])
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t bytes = sizeof in;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(fd >= 0 && bind(fd, (struct sockaddr *)&in, sizeof in) == 0 && listen(fd, 8) == 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&in, &bytes), 0);
    (void)snprintf(address, 64, "127.0.0.1:%u", ntohs(in.sin_port));
    return fd;
}

static evener_channel *open_channel(const evener_resolver_builder *builder)
{
    const evener_attribute interval = {"poll.interval_ms", "100"};
    const evener_channel_options options = {.size = sizeof options,
                                            .transport = &tcp_transport,
                                            .resolvers = &builder,
                                            .resolver_count = 1,
                                            .resolver_options = &interval,
                                            .resolver_option_count = 1,
                                            .policy = "round_robin"};
    evener_channel *channel;
    evener_status status;
    cr_assert_eq(evener_channel_create("poll:orders", &options, &channel, &status), EVENER_STATUS_OK, "%s",
                 status.message);
    return channel;
}

Test(own_plugins, bytes_go_to_the_server_that_the_poll_named)
{
    evener_resolver_builder builder;
    polling_resolver_init(&builder, &fetch_pointer);
    const int listener = listen_on(backends);
    evener_channel *channel = open_channel(&builder);
    const evener_pick_args args = {.size = sizeof args, .wait_for_ready = true, .timeout_ms = 30000};
    evener_pick pick;
    evener_status status;
    cr_assert_eq(evener_channel_pick(channel, &args, &pick, &status), EVENER_STATUS_OK, "%s", status.message);
    const int accepted = accept(listener, NULL, NULL);
    char got[8] = "";
    cr_assert_eq(write(tcp_connection_socket(pick.connection), "hello", 5), 5);
    cr_assert_eq(recv(accepted, got, 5, MSG_WAITALL), 5);
    cr_assert_str_eq(got, "hello");

    /* The server ends: the connection drops and new attempts are refused. The pick still owns its socket. */
    close(listener);
    close(accepted);
    evener_connectivity_state state = evener_channel_state(channel, false);
    while (state != EVENER_TRANSIENT_FAILURE) {
        state = evener_channel_wait_for_state_change(channel, state, 30000);
    }
    cr_assert_eq(recv(tcp_connection_socket(pick.connection), got, sizeof got, 0), 0,
                 "the end, on a socket still open");
    evener_pick_done(&pick, NULL);
    evener_channel_unref(channel);
}

Test(own_plugins, a_failed_poll_is_reported_and_made_again)
{
    evener_resolver_builder builder;
    polling_resolver_init(&builder, &fetch_pointer);
    backends[0] = '\0';
    evener_channel *channel = open_channel(&builder);
    const evener_pick_args args = {.size = sizeof args, .timeout_ms = 30000};
    evener_pick pick;
    evener_status status;
    cr_assert_eq(evener_channel_pick(channel, &args, &pick, &status), EVENER_STATUS_UNAVAILABLE);
    cr_assert_not_null(strstr(status.message, "nobody knows orders"), "%s", status.message);
    while (__atomic_load_n(&fetches, __ATOMIC_ACQUIRE) < 2) {
        (void)poll(NULL, 0, 10);
    }
    evener_channel_unref(channel);
}

Test(own_plugins, a_bad_interval_is_refused_when_the_channel_is_created)
{
    evener_resolver_builder builder;
    polling_resolver_init(&builder, &fetch_pointer);
    const evener_resolver_builder *own[] = {&builder};
    const char *const bad[] = {"99", "soon", "3600001", "100ms"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const evener_attribute interval = {"poll.interval_ms", bad[i]};
        const evener_channel_options options = {.size = sizeof options,
                                                .transport = &tcp_transport,
                                                .resolvers = own,
                                                .resolver_count = 1,
                                                .resolver_options = &interval,
                                                .resolver_option_count = 1};
        evener_channel *channel = NULL;
        evener_status status;
        cr_assert_eq(evener_channel_create("poll:orders", &options, &channel, &status), EVENER_STATUS_INVALID_ARGUMENT);
        cr_assert_null(channel);
        cr_assert_not_null(strstr(status.message, "poll.interval_ms"), "%s", status.message);
    }
}
