/* A client of the simulation: one policy, driven as a channel drives it, over doubles of subchannels. This file's
 * implementation defines evener_subchannel_*(): a program that links it has no channel. */
#ifndef EVENER_BENCH_SIM_CLIENT_H
#define EVENER_BENCH_SIM_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include <evener/policy.h>

#include "tests/support/virtual_loop.h"

/* What all clients of a run share. */
typedef struct sim_world {
    virtual_loop *vl;
    evener_loop *loop;
    const evener_policy_choice *choice;
    evener_address **addresses; /* by server */
    const bool *refusing;       /* by server: does not accept connections */
    uint32_t server_count;
    evener_subchannel *untold, **untold_tail; /* whose state is to be told in the next turn */
    evener_task tell_task;
} sim_world;

typedef struct sim_client {
    evener_policy_helper helper;
    sim_world *world;
    evener_policy *policy;
    evener_picker *picker; /* NULL: none yet */
    evener_subchannel *subchannels;
} sim_client;

void sim_world_init(sim_world *world);

/* False without memory. The first list follows. */
bool sim_client_open(sim_client *client, sim_world *world);
void sim_client_close(sim_client *client);

/* The servers of the list, by index in the world's; runs nothing of what it posts. */
void sim_client_update(sim_client *client, const uint32_t *servers, uint32_t count);

/* The server picked, or UINT32_MAX when there is none. */
uint32_t sim_client_pick(sim_client *client, evener_pick *pick);
void sim_pick_done(evener_pick *pick, evener_status_code code);

/* The server's connection drops. */
void sim_client_drop(sim_client *client, uint32_t server);

#endif
