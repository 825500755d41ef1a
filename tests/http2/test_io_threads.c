/* A channel's io_threads: as many I/O threads serve the connections of its runtime. */
#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <evener/evener.h>

#include "lb/transport/http2/internal.h"

/* Enough for more threads than are asked for to get connections, if there were more. */
#define CONNECTIONS (8 * EVENER_HTTP2_CONNECTIONS_TOGETHER)

static int listen_on_all_addresses(uint16_t *port)
{
    const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_ANY)};
    socklen_t bytes = sizeof address;
    cr_assert_eq(bind(listener, (struct sockaddr *)&address, bytes), 0);
    cr_assert_eq(listen(listener, CONNECTIONS), 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&address, &bytes), 0);
    *port = ntohs(address.sin_port);
    return listener;
}

static unsigned count_io_threads(void)
{
    unsigned count = 0;
    DIR *tasks = opendir("/proc/self/task");
    for (const struct dirent *entry = readdir(tasks); entry != NULL; entry = readdir(tasks)) {
        char path[64], name[32] = "";
        snprintf(path, sizeof path, "/proc/self/task/%.20s/comm", entry->d_name);
        FILE *file = fopen(path, "r");
        if (file != NULL) {
            (void)!fgets(name, sizeof name, file);
            fclose(file);
        }
        count += strncmp(name, "evener-h2-", strlen("evener-h2-")) == 0;
    }
    closedir(tasks);
    return count;
}

/* Connect a channel to many addresses, at all of which one server listens that never answers. */
static void expect_threads(uint32_t io_threads, unsigned expected)
{
    uint16_t port;
    const int listener = listen_on_all_addresses(&port);
    static char target[CONNECTIONS * 24];
    size_t used = (size_t)snprintf(target, sizeof target, "ipv4:");
    for (unsigned i = 1; i <= CONNECTIONS; i++) {
        used += (size_t)snprintf(target + used, sizeof target - used, "%s127.0.0.%u:%u", i > 1 ? "," : "", i, port);
    }
    evener_status status;
    evener_runtime *runtime;
    evener_credentials *insecure;
    cr_assert_eq(evener_runtime_create(NULL, &runtime, &status), EVENER_STATUS_OK);
    cr_assert_eq(evener_credentials_create_insecure(&insecure, &status), EVENER_STATUS_OK);
    const evener_channel_options options = {.size = sizeof options,
                                            .runtime = runtime,
                                            .credentials = insecure,
                                            .transport_name = "http2",
                                            .policy = "round_robin",
                                            .io_threads = io_threads};
    evener_channel *channel;
    cr_assert_eq(evener_channel_create(target, &options, &channel, &status), EVENER_STATUS_OK, "%s", status.message);
    evener_channel_connect(channel);
    int accepted[CONNECTIONS];
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        accepted[i] = accept(listener, NULL, NULL);
    }
    while (count_io_threads() < expected) { /* a thread names itself after its start; ctest's timeout ends this */
        sched_yield();
    }
    cr_expect_eq(count_io_threads(), expected, "%u threads", count_io_threads());
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        close(accepted[i]);
    }
    close(listener);
    evener_channel_unref(channel);
    evener_credentials_destroy(insecure);
    evener_runtime_unref(runtime);
}

Test(http2_io_threads, one_serves_all_connections, .timeout = 60)
{
    expect_threads(1, 1);
}

Test(http2_io_threads, there_are_as_many_as_the_channel_says, .timeout = 60)
{
    expect_threads(5, 5);
}

Test(http2_io_threads, by_default_there_is_one_per_processor_and_four_at_most, .timeout = 60)
{
    cpu_set_t usable, first;
    cr_assert_eq(sched_getaffinity(0, sizeof usable, &usable), 0);
    const unsigned processors = (unsigned)CPU_COUNT(&usable);
    expect_threads(0, processors < 4 ? processors : 4);
    CPU_ZERO(&first);
    for (size_t i = 0; CPU_COUNT(&first) == 0; i++) {
        if (CPU_ISSET(i, &usable)) {
            CPU_SET(i, &first);
        }
    }
    cr_assert_eq(sched_setaffinity(0, sizeof first, &first), 0); /* the control thread is made by this one */
    while (count_io_threads() > 0) { /* those of the runtime before: they end with it, shortly after */
        sched_yield();
    }
    expect_threads(0, 1);
}

#define DESCRIPTORS 256

static unsigned count_descriptors(void)
{
    unsigned count = 0;
    for (int descriptor = 0; descriptor < DESCRIPTORS; descriptor++) {
        count += fcntl(descriptor, F_GETFD) != -1;
    }
    return count;
}

/* Connect on a new channel of the runtime to an address at which nobody listens, with this limit of descriptors. Return
 * whether the server has refused it. */
static bool comes_to_the_refusal(evener_runtime *runtime, evener_credentials *insecure, const char *target,
                                 rlim_t limit)
{
    struct rlimit usual, low;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &usual), 0);
    low = (struct rlimit){.rlim_cur = limit, .rlim_max = usual.rlim_max};
    const evener_channel_options options = {.size = sizeof options,
                                            .runtime = runtime,
                                            .credentials = insecure,
                                            .transport_name = "http2",
                                            .own_connections = true};
    const evener_call_options call = {.size = sizeof call, .timeout_ms = 60000};
    evener_status status;
    evener_channel *channel;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
    const evener_status_code made = evener_channel_create(target, &options, &channel, &status);
    const evener_status_code ended = evener_unary_call(channel, "/a/b", NULL, &call, NULL, &status);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &usual), 0);
    cr_assert_eq(made, EVENER_STATUS_OK);
    cr_assert_eq(ended, EVENER_STATUS_UNAVAILABLE, "%s", status.message);
    evener_channel_unref(channel);
    const bool refused = strstr(status.message, "refused") != NULL;
    cr_assert(refused || strstr(status.message, "ulimit -n") != NULL || strstr(status.message, "Too many open") != NULL,
              "%s", status.message);
    return refused;
}

/* The connection request is sent before there is a thread: what the thread lacks takes the request back. */
Test(http2_io_threads, without_descriptors_is_an_error_that_passes, .timeout = 60)
{
    evener_status status;
    evener_runtime *runtime;
    evener_credentials *insecure;
    char target[64];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    const int unused = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); /* holds its port, does not listen */
    cr_assert_eq(bind(unused, (struct sockaddr *)&address, bytes), 0);
    cr_assert_eq(getsockname(unused, (struct sockaddr *)&address, &bytes), 0);
    snprintf(target, sizeof target, "ipv4:127.0.0.1:%u", ntohs(address.sin_port));
    cr_assert_eq(evener_credentials_create_insecure(&insecure, &status), EVENER_STATUS_OK);
    cr_assert_eq(evener_runtime_create(NULL, &runtime, &status), EVENER_STATUS_OK);
    evener_runtime_unref(runtime); /* libuv keeps a pipe for the life of the process */
    const unsigned before = count_descriptors();
    cr_assert_eq(evener_runtime_create(NULL, &runtime, &status), EVENER_STATUS_OK);
    unsigned failures = 0;
    for (rlim_t limit = 1; !comes_to_the_refusal(runtime, insecure, target, limit); limit++) {
        failures++;
    }
    cr_assert_gt(failures, 2);
    cr_assert(comes_to_the_refusal(runtime, insecure, target, DESCRIPTORS));
    evener_runtime_unref(runtime);
    cr_assert_eq(count_descriptors(), before);
    evener_credentials_destroy(insecure);
    close(unused);
}
