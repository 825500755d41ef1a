/* One of two backends refuses 2 % of the streams with REFUSED_STREAM, which says nothing of its connection (RFC 9113
 * section 8.7), with several calls in flight. Its share under round_robin is not smaller for that, its connection
 * stays, and each refusal is either a retry (over "http2") or one failed call. Only counts are compared: how fast the
 * calls are is measured by bench/refused/. */
#include <stdio.h>

#include <evener/evener.h>

#include "bench/rpc/client.h"
#include "tests/support/call_load.h"
#include "tests/support/refusing_server.h"
#include "tests/support/transport_choice.h"

#define CALLS 10000
#define IN_FLIGHT 8
#define REFUSED_EVERY 50
#define SHARE_PERCENT_MIN 45

static int failures;

static void check(bool holds, const char *what, uint64_t seen, uint64_t limit)
{
    if (!holds) {
        fprintf(stderr, "%s: %llu, expected %llu\n", what, (unsigned long long)seen, (unsigned long long)limit);
        failures++;
    }
}

int main(void)
{
    h2_script_server *refusing = refusing_server_start(REFUSED_EVERY);
    h2_script_server *willing = refusing_server_start(0);
    char servers[64];
    snprintf(servers, sizeof servers, "127.0.0.1:%u,127.0.0.1:%u", (unsigned)h2_script_server_port(refusing),
             (unsigned)h2_script_server_port(willing));
    const bench_client_options options = {.servers = servers, .policy = "round_robin", .threads = 2, .payload = ""};
    bench_client *client = bench_client_open_evener(&options);
    if (client == NULL) {
        return 1;
    }
    /* From here on both backends are known to be READY. */
    while (h2_script_server_count(refusing, H2_REQUESTS) == 0 || h2_script_server_count(willing, H2_REQUESTS) == 0) {
        (void)client->call(client);
    }
    const uint64_t before[2] = {h2_script_server_count(refusing, H2_REQUESTS),
                                h2_script_server_count(willing, H2_REQUESTS)};
    const uint64_t failed = call_load_run(client, IN_FLIGHT, CALLS).failed;
    const uint64_t after = h2_script_server_count(refusing, H2_REQUESTS);
    const uint64_t requests = after - before[0] + h2_script_server_count(willing, H2_REQUESTS) - before[1];
    const uint64_t refusals = after / REFUSED_EVERY - before[0] / REFUSED_EVERY;
    const uint64_t retries = requests - CALLS;
    printf("%llu requests, %llu of them at the refusing server; %llu refused, %llu calls failed\n",
           (unsigned long long)requests, (unsigned long long)(after - before[0]), (unsigned long long)refusals,
           (unsigned long long)failed);

    check(failed + retries == refusals, "failed calls and retries", failed + retries, refusals);
    /* A call that is refused twice fails: expect 2 % of the refused calls, and fewer than a tenth. */
    check(on_core() ? retries == 0 : failed * 10 <= refusals, on_core() ? "retries" : "calls failed",
          on_core() ? retries : failed, on_core() ? 0 : refusals / 10);
    const uint64_t share = (after - before[0]) * 100 / requests;
    check(share >= SHARE_PERCENT_MIN, "percent at the refusing server", share, SHARE_PERCENT_MIN);
    const uint64_t connections =
        h2_script_server_count(refusing, H2_CONNECTIONS) + h2_script_server_count(willing, H2_CONNECTIONS);
    check(connections == 2, "connections", connections, 2);

    client->close(client);
    h2_script_server_stop(refusing);
    h2_script_server_stop(willing);
    return failures != 0;
}
