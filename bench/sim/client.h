/* A client of the simulation: one policy, driven as a channel drives it, over simulated subchannels. client.c
 * defines evener_subchannel_*(), so a program that links it has no channel. Programs whose clients are channels use the
 * world only. */
#ifndef EVENER_BENCH_SIM_CLIENT_H
#define EVENER_BENCH_SIM_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include <evener/policy.h>

#include "tests/support/virtual_loop.h"

/* The server's index is in its address: 10.a.b.c. */
static inline uint32_t sim_server_of(const evener_address *address)
{
    uint32_t number = 0;
    uint32_t part = 0;
    for (const char *at = evener_address_text(address); *at != ':'; at++) {
        if (*at == '.') {
            number = (number << 8) + part;
            part = 0;
        } else {
            part = part * 10 + (uint32_t)(*at - '0');
        }
    }
    return ((number << 8) + part) & 0xFFFFFF;
}

/* State shared by all clients of a run. */
typedef struct sim_world {
    virtual_loop *vl;
    evener_loop *loop;
    const evener_policy_choice *choice;
    evener_address **addresses; /* by server */
    const bool *refusing;       /* by server: refuses connections */
    uint32_t server_count;
    evener_subchannel *unreported, **unreported_tail; /* subchannels whose state change is reported in the next turn */
    evener_task report_task;
} sim_world;

typedef struct sim_client {
    evener_policy_helper helper;
    sim_world *world;
    evener_policy *policy;
    evener_picker *picker; /* NULL: the policy has published none yet */
    evener_subchannel *subchannels;
} sim_client;

void sim_world_init(sim_world *world);

/* Open a client. Return false on out of memory. Call sim_client_update() with the first list next. */
bool sim_client_open(sim_client *client, sim_world *world);
void sim_client_close(sim_client *client);

/* Pass a list of servers (indices into the world's) to the policy. Does not run the tasks that the policy posts. */
void sim_client_update(sim_client *client, const uint32_t *servers, uint32_t count);

/* Return the picked server, or UINT32_MAX if there is none. */
uint32_t sim_client_pick(sim_client *client, evener_pick *pick);
void sim_pick_done(evener_pick *pick, evener_status_code code);
/* Fetch what sim_pick_done() will read into the cache. */
void sim_pick_prefetch(const evener_pick *pick);
/* Fetch the beginning of a picker, or nothing for NULL. */
void sim_picker_prefetch(const evener_picker *picker);

/* Drop the connection to the server. */
void sim_client_drop(sim_client *client, uint32_t server);

#endif
