/* evener, on the transport SCALE_TRANSPORT. A scale_channel is an evener_channel. */
#include <stdio.h>
#include <stdlib.h>

#include <evener/evener.h>

#include "bench/scale/client.h"
#include "bench/scale/measured.h"

#define WAIT_MS 60000

const char *const scale_target_prefix = "static:";

static evener_credentials *insecure;

void scale_client_start(void)
{
    evener_status status;
    (void)evener_credentials_create_insecure(&insecure, &status);
}

scale_channel *scale_open(const char *target)
{
    evener_status status;
    evener_channel *channel;
    const evener_channel_options options = {
        .size = sizeof options, .credentials = insecure, .policy = "round_robin", .transport_name = SCALE_TRANSPORT};
    if (evener_channel_create(target, &options, &channel, &status) != EVENER_STATUS_OK) {
        (void)fprintf(stderr, "bench_scale: %s\n", status.message);
        exit(1);
    }
    return (scale_channel *)channel;
}

void scale_connect(scale_channel *channel)
{
    evener_channel_connect((evener_channel *)channel);
}

bool scale_wait_ready(scale_channel *channel)
{
    evener_status status;
    return evener_channel_wait_ready((evener_channel *)channel, WAIT_MS, &status) == EVENER_STATUS_OK;
}

void scale_close(scale_channel *channel)
{
    evener_channel_unref((evener_channel *)channel);
}

void scale_turn(long ms)
{
    scale_pause_ms(ms);
}

bool scale_call(scale_channel *channel)
{
    evener_status status;
    const evener_call_options options = {.size = sizeof options, .wait_for_ready = EVENER_WAIT_FOR_READY_YES};
    return evener_unary_call((evener_channel *)channel, "/evener.demo.Echo/Unary", NULL, &options, NULL, &status) ==
           EVENER_STATUS_OK;
}
