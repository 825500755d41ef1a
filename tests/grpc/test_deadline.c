/* A deadline ends the call whatever the peer does. The peer here sends PINGs as fast as it can and reads nothing: the C
 * core's own timer was seen to wait up to 27 s behind a write that blocks. */
#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "grpc/call_fixture.h"
#include "grpc/transport_fixture.h"
#include "tests/support/h2_frames.h"
#include "tests/support/transport_choice.h"

#define CALLS 5
#define TIMEOUT_MS 300
#define PING_BYTES 17
#define PINGS_PER_WRITE 500
/* The flood ends by itself after this: calls that end then have not ended by their deadline. */
#define FLOOD_S_MAX 20

typedef struct flood {
    int listener;
    uint16_t port;
    pthread_t thread;
    atomic_bool stop, over;
} flood;

static void *flood_main(void *arg)
{
    static const uint8_t settings[9] = {0, 0, 0, 4};
    static uint8_t pings[PINGS_PER_WRITE * PING_BYTES];
    for (int i = 0; i < PINGS_PER_WRITE; i++) {
        memcpy(pings + i * PING_BYTES, (const uint8_t[PING_BYTES]){0, 0, 8, 6}, PING_BYTES);
    }
    flood *f = arg;
    int peers[16];
    size_t sent[16] = {0}; /* of `pings`: frames stay whole */
    nfds_t count = 0;
    const time_t until = time(NULL) + FLOOD_S_MAX;
    while (!atomic_load(&f->stop) && time(NULL) < until) {
        struct pollfd fds[17] = {{.fd = f->listener, .events = count < 16 ? POLLIN : 0}};
        for (nfds_t i = 0; i < count; i++) {
            fds[i + 1] = (struct pollfd){.fd = peers[i], .events = POLLOUT};
        }
        const nfds_t polled = count;
        (void)poll(fds, polled + 1, 10);
        if ((fds[0].revents & POLLIN) != 0) {
            peers[count] = accept(f->listener, NULL, NULL);
            (void)!send(peers[count], settings, sizeof settings, MSG_NOSIGNAL);
            (void)fcntl(peers[count], F_SETFL, O_NONBLOCK);
            count++;
        }
        for (nfds_t i = 0; i < polled; i++) {
            if ((fds[i + 1].revents & POLLOUT) != 0) {
                const ssize_t bytes = send(peers[i], pings + sent[i], sizeof pings - sent[i], MSG_NOSIGNAL);
                sent[i] = (sent[i] + (bytes > 0 ? (size_t)bytes : 0)) % sizeof pings;
            }
        }
    }
    atomic_store(&f->over, !atomic_load(&f->stop));
    for (nfds_t i = 0; i < count; i++) {
        close(peers[i]);
    }
    return NULL;
}

static void flood_start(flood *f)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    const int small = 4096;
    *f = (flood){.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    (void)setsockopt(f->listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    cr_assert_eq(bind(f->listener, (struct sockaddr *)&address, bytes), 0);
    cr_assert_eq(listen(f->listener, 16), 0);
    cr_assert_eq(getsockname(f->listener, (struct sockaddr *)&address, &bytes), 0);
    f->port = ntohs(address.sin_port);
    cr_assert_eq(pthread_create(&f->thread, NULL, flood_main, f), 0);
}

static void flood_stop(flood *f)
{
    atomic_store(&f->stop, true);
    pthread_join(f->thread, NULL);
    close(f->listener);
}

typedef struct scene {
    flood flood;
    call_fixture fixture;
    evener_channel *channel;
    evener_call_options options;
} scene;

static void open_scene(scene *s)
{
    char target[64];
    flood_start(&s->flood);
    call_fixture_open(&s->fixture, 0, NULL);
    snprintf(target, sizeof target, "ipv4:%s", address_of_port(s->flood.port));
    s->channel = call_fixture_channel(&s->fixture, target);
    s->options = (evener_call_options){
        .size = sizeof s->options, .timeout_ms = TIMEOUT_MS, .wait_for_ready = EVENER_WAIT_FOR_READY_YES};
}

static void close_scene(scene *s)
{
    evener_channel_unref(s->channel);
    flood_stop(&s->flood);
    call_fixture_close(&s->fixture);
}

/* "http2" gives such a peer up (nghttp2_option_set_max_outbound_ack), and the call may fail with that before its
 * deadline; over the core the deadline is what ends it. */
static void expect_ended(scene *s, const evener_status *status)
{
    cr_expect_not(atomic_load(&s->flood.over), "the call ended with the flood only: %s", status->message);
    cr_expect(status->code == EVENER_STATUS_DEADLINE_EXCEEDED ||
                  (!on_core() && status->code == EVENER_STATUS_UNAVAILABLE),
              "%s: %s", evener_status_code_name(status->code), status->message);
}

TestSuite(deadline, .timeout = 120);

Test(deadline, ends_a_blocking_call)
{
    scene s;
    open_scene(&s);
    for (int i = 0; i < CALLS; i++) {
        evener_status status;
        (void)evener_unary_call(s.channel, ECHO_UNARY, NULL, &s.options, NULL, &status);
        expect_ended(&s, &status);
    }
    close_scene(&s);
}

Test(deadline, ends_a_blocking_stream)
{
    scene s;
    open_scene(&s);
    for (int i = 0; i < CALLS; i++) {
        evener_status status;
        evener_stream *stream;
        evener_bytes message;
        const evener_bytes hello = bytes_of("hello");
        if (evener_stream_open(s.channel, ECHO_STREAM, NULL, &s.options, &stream, &status) == EVENER_STATUS_OK) {
            (void)evener_stream_write(stream, &hello);
            cr_expect_not(evener_stream_read(stream, &message));
            (void)evener_stream_finish(stream, &status);
            evener_stream_unref(stream);
        }
        expect_ended(&s, &status);
    }
    close_scene(&s);
}

typedef struct waiter {
    sem_t ended;
    evener_status status;
} waiter;

static void call_ended(void *arg, const evener_status *status, evener_bytes *response)
{
    waiter *w = arg;
    (void)response;
    w->status = *status;
    sem_post(&w->ended);
}

Test(deadline, ends_an_asynchronous_call)
{
    scene s;
    open_scene(&s);
    for (int i = 0; i < CALLS; i++) {
        waiter w;
        sem_init(&w.ended, 0, 0);
        if (evener_call_start(s.channel, ECHO_UNARY, NULL, &s.options, call_ended, &w, NULL, &w.status) ==
            EVENER_STATUS_OK) {
            while (sem_wait(&w.ended) != 0) {
            }
        }
        expect_ended(&s, &w.status);
        sem_destroy(&w.ended);
    }
    close_scene(&s);
}
