/* The demo: consecutive calls to dns:///xxx.xxx.com, balanced over two backends, and over three once the resolver
 * has added the third.
 *
 *     demo_client [--fast] [FIRST SECOND THIRD]
 *
 * A resolver in this file serves the name. It replaces the scheme `dns` for this channel only, as grpc.WithResolvers
 * does in grpc-go. One call per second, and the third backend after 20 s; with --fast 50 ms and 1 s. Default ports:
 * 8898, 8899 and 8897. Prints `demo: ok (N calls, 0 failed)` if every call was answered by the backend whose turn it
 * was. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <evener/evener.h>

#include "grpcdemo/grpcdemo.evener.h"

#define CALLS 40
#define CALL_TIMEOUT_MS 3000
#define CONNECT_TIMEOUT_MS 5000

/* ---- the resolver: first two backends, later a third ---- */

typedef struct demo_resolver {
    evener_resolver base; /* first: an evener_resolver * is a demo_resolver * */
    evener_resolver_sink *sink;
    evener_loop *loop;
    evener_timer timer;
    uint64_t third_after_ms;
    const unsigned *ports;
} demo_resolver;

/* The builder's user_data. */
typedef struct demo_plan {
    unsigned ports[3];
    uint64_t third_after_ms;
} demo_plan;

static void push(demo_resolver *self, size_t count)
{
    evener_address *addresses[3] = {NULL};
    evener_status status;
    evener_status_clear(&status);
    for (size_t i = 0; i < count && status.code == EVENER_STATUS_OK; i++) {
        char text[32];
        snprintf(text, sizeof text, "127.0.0.1:%u", self->ports[i]);
        evener_address_create(text, NULL, 0, &addresses[i], &status);
    }
    if (status.code == EVENER_STATUS_OK) {
        const evener_resolver_update update = {
            .size = sizeof update, .addresses = addresses, .address_count = count, .source = "the demo's resolver"};
        evener_resolver_sink_update(self->sink, &update);
    } else {
        evener_resolver_sink_error(self->sink, &status);
    }
    for (size_t i = 0; i < count; i++) {
        evener_address_unref(addresses[i]);
    }
}

static void found_the_third(void *arg)
{
    push(arg, 3);
}

static void demo_start(evener_resolver *base)
{
    demo_resolver *self = (demo_resolver *)base;
    push(self, 2);
    evener_timer_start(self->loop, &self->timer, self->third_after_ms * EVENER_NS_PER_MS);
}

static void demo_close(evener_resolver *base)
{
    demo_resolver *self = (demo_resolver *)base;
    evener_timer_stop(self->loop, &self->timer);
    free(self);
}

static const evener_resolver_vtable demo_vtable = {
    .size = sizeof demo_vtable, .start = demo_start, .close = demo_close};

static evener_status_code demo_build(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                     evener_resolver **resolver, evener_status *status)
{
    const demo_plan *plan = builder->user_data;
    demo_resolver *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "demo resolver: out of memory");
    }
    made->base.vtable = &demo_vtable;
    made->sink = args->sink;
    made->loop = args->loop;
    made->timer = (evener_timer)EVENER_TIMER_INIT(found_the_third, made);
    made->third_after_ms = plan->third_after_ms;
    made->ports = plan->ports;
    *resolver = &made->base;
    return evener_status_clear(status);
}

/* ---- the calls ---- */

/* Call DemoImport. Return the port of the backend that answered; 0 and a filled status if the call failed. */
static unsigned call_demo_import(evener_channel *channel, evener_status *status)
{
    Grpcdemo__Folder__ImportedMessage request = GRPCDEMO__FOLDER__IMPORTED_MESSAGE__INIT;
    request.imported_message = (char *)"demo";
    const evener_call_options options = {.size = sizeof options, .timeout_ms = CALL_TIMEOUT_MS};
    Grpcdemo__CustomMessage *response;
    if (grpcdemo_grpc_demo_demo_import(channel, &request, &options, &response, status) != EVENER_STATUS_OK) {
        return 0;
    }
    char now[32];
    const time_t seconds = time(NULL);
    struct tm local;
    strftime(now, sizeof now, "%Y/%m/%d %H:%M:%S", localtime_r(&seconds, &local));
    printf("%s resp custom_message:\"%s\"\n", now, response->custom_message);
    fflush(stdout);
    const unsigned port = (unsigned)strtoul(response->custom_message, NULL, 10);
    grpcdemo__custom_message__free_unpacked(response, NULL);
    return port;
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void pause_ms(uint64_t ms)
{
    const struct timespec pause = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000 * 1000000)};
    nanosleep(&pause, NULL);
}

/* Check round robin: among `count` consecutive answers no port occurs twice, once `count` backends take part. */
static bool is_its_turn(const unsigned *answers, int last, unsigned count, int first)
{
    for (int before = last - 1; before >= first && before > last - (int)count; before--) {
        if (answers[before] == answers[last]) {
            return false;
        }
    }
    return true;
}

static int run(evener_channel *channel, const demo_plan *plan, uint64_t interval_ms)
{
    const uint64_t began_ms = now_ms(); /* taken before the resolver starts */
    evener_status status;
    if (evener_channel_wait_ready_backends(channel, 2, CONNECT_TIMEOUT_MS, &status) != EVENER_STATUS_OK) {
        fprintf(stderr, "demo: no backend: %s\n", status.message);
        return 1;
    }
    unsigned answers[CALLS];
    int with_third = CALLS; /* the first call answered by the third backend */
    for (int i = 0; i < CALLS; i++) {
        answers[i] = call_demo_import(channel, &status);
        if (answers[i] == 0) {
            fprintf(stderr, "demo: call %d failed: %s: %s\n", i + 1, evener_status_code_name(status.code),
                    status.message);
            return 1;
        }
        if (answers[i] == plan->ports[2] && i < with_third) {
            with_third = i;
        }
        /* The order may change once while the third backend joins. Before and after that it is exact. */
        const bool joined = i >= with_third;
        const bool before = now_ms() - began_ms < plan->third_after_ms;
        if ((joined && !is_its_turn(answers, i, 3, with_third)) || (before && !is_its_turn(answers, i, 2, 0))) {
            fprintf(stderr, "demo: call %d was answered by %u out of turn\n", i + 1, answers[i]);
            return 1;
        }
        pause_ms(interval_ms);
    }
    if (with_third == CALLS) {
        fprintf(stderr, "demo: %u never answered\n", plan->ports[2]);
        return 1;
    }
    printf("demo: ok (%d calls, 0 failed)\n", CALLS);
    return 0;
}

int main(int argc, char **argv)
{
    bool fast = argc > 1 && strcmp(argv[1], "--fast") == 0;
    argc -= fast;
    argv += fast;
    if (argc != 1 && argc != 4) {
        fprintf(stderr, "usage: demo_client [--fast] [FIRST SECOND THIRD]\n");
        return 2;
    }
    demo_plan plan = {.ports = {8898, 8899, 8897}, .third_after_ms = fast ? 1000 : 20000};
    for (int i = 1; i < argc; i++) {
        plan.ports[i - 1] = (unsigned)strtoul(argv[i], NULL, 10);
    }

    evener_status status;
    evener_credentials *insecure;
    if (evener_credentials_create_insecure(&insecure, &status) != EVENER_STATUS_OK) {
        fprintf(stderr, "demo: %s\n", status.message);
        return 1;
    }
    const evener_resolver_builder builder = {
        .size = sizeof builder, .scheme = "dns", .build = demo_build, .user_data = &plan};
    const evener_resolver_builder *const resolvers[] = {&builder};
    const evener_channel_options options = {
        .size = sizeof options,
        .credentials = insecure,
        .resolvers = resolvers,
        .resolver_count = 1,
        .default_service_config = "{\"loadBalancingPolicy\":\"round_robin\"}",
    };
    evener_channel *channel;
    int result = 1;
    if (evener_channel_create("dns:///xxx.xxx.com", &options, &channel, &status) == EVENER_STATUS_OK) {
        result = run(channel, &plan, fast ? 50 : 1000);
        evener_channel_unref(channel);
    } else {
        fprintf(stderr, "demo: %s\n", status.message);
    }
    evener_credentials_destroy(insecure);
    return result;
}
