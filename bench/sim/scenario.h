/* A scenario of the simulator: clients, groups of servers, events, and what to report. A plain value: tests write it
 * as an initialiser; sim_scenario_read() reads it from a libconfig file (*.cfg in this folder). */
#ifndef EVENER_BENCH_SIM_SCENARIO_H
#define EVENER_BENCH_SIM_SCENARIO_H

#include <stdbool.h>
#include <stdint.h>

#include <evener/status.h>

#define SIM_GROUPS_MAX 8
#define SIM_EVENTS_MAX 64
#define SIM_WINDOWS_MAX 16
#define SIM_POLICIES_MAX 16
#define SIM_NAME_BYTES 32
#define SIM_CONFIG_BYTES 512
#define SIM_METHODS_BYTES 512
#define SIM_NOTE_BYTES 1024

typedef enum sim_distribution {
    SIM_CONSTANT = 0,
    SIM_EXPONENTIAL = 1,
    SIM_LOGNORMAL = 2 /* with `sigma` of the logarithm; the mean is service_us */
} sim_distribution;

/* A group of servers with the same settings. */
typedef struct sim_group {
    char name[SIM_NAME_BYTES];
    uint32_t count;
    uint32_t workers; /* calls served concurrently, further calls queue; 0: unlimited, no queue */
    sim_distribution distribution;
    double service_us; /* mean service time */
    double sigma;
    double spread;   /* each server's service time has its own factor, log-uniform from 1/spread to spread; 0: 1 */
    uint32_t weight; /* the address's "weight" attribute; 0: none */
    bool absent;     /* not in the list until an event adds it */
    /* Other work on the machine: it slows a server by this factor, in spells that cover `antagonist_share` of the
     * time. */
    double antagonist_slowdown; /* 0: none */
    double antagonist_share;
    double antagonist_spell_s; /* mean length of a spell */
} sim_group;

typedef enum sim_action {
    SIM_EXTRA = 0,    /* service takes `value` microseconds longer */
    SIM_SLOWDOWN = 1, /* service takes `value` times as long */
    SIM_FAIL = 2,     /* a share `value` of the calls ends with `code` after 0.1 ms */
    SIM_HANG = 3,     /* calls are accepted and not answered */
    SIM_RECOVER = 4,  /* ends all of the above; hanging calls are answered */
    SIM_JOIN = 5,     /* added to every client's list */
    SIM_LEAVE = 6,    /* removed from every client's list */
    SIM_KILL = 7,     /* calls in flight fail, connections drop, new connections are refused */
    SIM_RESTART = 8,  /* connections are accepted again */
    SIM_RATE = 9      /* calls arrive at `value` times the scenario's rate; has no group */
} sim_action;

typedef struct sim_event {
    double at_s;
    double every_s; /* repetition interval; 0: once */
    sim_action action;
    uint32_t group, first, count; /* count 0: all of the group */
    double value;
    evener_status_code code; /* of SIM_FAIL; 0: UNAVAILABLE */
} sim_event;

/* A period that is reported separately: the calls that start in it. Periods may overlap. */
typedef struct sim_window {
    char name[SIM_NAME_BYTES];
    double from_s, to_s;
} sim_window;

typedef struct sim_policy {
    char label[SIM_NAME_BYTES];
    char name[SIM_NAME_BYTES];
    char config[SIM_CONFIG_BYTES];         /* JSON; "": {} */
    char method_config[SIM_METHODS_BYTES]; /* with `channel`: JSON, methodConfig of the service config; "": none */
} sim_policy;

typedef struct sim_scenario {
    char name[SIM_NAME_BYTES];
    char note[SIM_NOTE_BYTES]; /* its source and the published figures */
    uint64_t seed;
    uint32_t seeds; /* how many seeds, from `seed` on, its published figures are made of */
    /* Clients are whole channels (bench_sim_calls), and timeout_ms must be set; otherwise they are policies alone
     * (bench_sim). */
    bool channel;
    uint32_t clients;
    uint32_t subset;   /* servers per client, drawn at random; 0: all */
    double rate_per_s; /* calls per second of all clients together */
    bool even;         /* calls arrive at even intervals; otherwise as a Poisson process */
    double duration_s;
    double timeout_ms; /* 0: none */
    double network_us; /* round trip, without the server */
    double series_s;   /* length of a slice of the result series; 0: no series */
    uint32_t group_count, event_count, window_count, policy_count;
    sim_group groups[SIM_GROUPS_MAX];
    sim_event events[SIM_EVENTS_MAX];
    sim_window windows[SIM_WINDOWS_MAX]; /* none: one window over the whole run */
    sim_policy policies[SIM_POLICIES_MAX];
} sim_scenario;

/* Read a scenario file. Return false with a message that names the file and the line or setting. */
bool sim_scenario_read(const char *path, sim_scenario *scenario, char *message, uint32_t message_bytes);

#endif
