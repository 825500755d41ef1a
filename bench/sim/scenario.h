/* Scenario of the simulator: clients, groups of servers, what happens to them and when, and what is to be reported. A
 * plain value: tests write it as an initialiser, scenario_read() makes it of a libconfig file (*.cfg in this folder). */
#ifndef EVENER_BENCH_SIM_SCENARIO_H
#define EVENER_BENCH_SIM_SCENARIO_H

#include <stdbool.h>
#include <stdint.h>

#define SIM_GROUPS_MAX 8
#define SIM_EVENTS_MAX 64
#define SIM_WINDOWS_MAX 16
#define SIM_POLICIES_MAX 16
#define SIM_NAME_BYTES 32
#define SIM_CONFIG_BYTES 512
#define SIM_NOTE_BYTES 1024

typedef enum sim_distribution {
    SIM_CONSTANT = 0,
    SIM_EXPONENTIAL = 1,
    SIM_LOGNORMAL = 2 /* with `sigma` of the logarithm; the mean is service_us */
} sim_distribution;

/* Servers that are alike. */
typedef struct sim_group {
    char name[SIM_NAME_BYTES];
    uint32_t count;
    uint32_t workers; /* calls served at a time, the others wait in order; 0: without limit (nobody waits) */
    sim_distribution distribution;
    double service_us; /* mean time of service */
    double sigma;
    double spread;   /* each server's time is multiplied by its own factor, log-uniform over 1/spread to spread; 0: 1 */
    uint32_t weight; /* the address's attribute; 0: none */
    bool absent;     /* joins by an event */
    /* Other work on the machine: a server is slowed down by this factor in spells, `antagonist_share` of the time. */
    double antagonist_slowdown; /* 0: none */
    double antagonist_share;
    double antagonist_spell_s; /* mean length of a spell */
} sim_group;

typedef enum sim_action {
    SIM_EXTRA = 0,    /* service takes `value` microseconds more */
    SIM_SLOWDOWN = 1, /* service takes `value` times as long */
    SIM_FAIL = 2,     /* a share `value` of the calls fails, UNAVAILABLE, after 0.1 ms */
    SIM_HANG = 3,     /* calls are taken and never answered */
    SIM_RECOVER = 4,  /* the end of all the above; calls that hang are answered */
    SIM_JOIN = 5,     /* enters every client's list */
    SIM_LEAVE = 6,    /* leaves it */
    SIM_KILL = 7,     /* calls under way fail, connections drop, new ones are refused */
    SIM_RESTART = 8,  /* connections are accepted again */
    SIM_RATE = 9      /* calls arrive at `value` times the scenario's rate; of no group */
} sim_action;

typedef struct sim_event {
    double at_s;
    double every_s; /* again and again; 0: once */
    sim_action action;
    uint32_t group, first, count; /* count 0: all of the group */
    double value;
} sim_event;

/* A span of time that is reported on its own: calls that begin in it. */
typedef struct sim_window {
    char name[SIM_NAME_BYTES];
    double from_s, to_s;
} sim_window;

typedef struct sim_policy {
    char label[SIM_NAME_BYTES];
    char name[SIM_NAME_BYTES];
    char config[SIM_CONFIG_BYTES]; /* JSON; "": {} */
} sim_policy;

typedef struct sim_scenario {
    char name[SIM_NAME_BYTES];
    char note[SIM_NOTE_BYTES]; /* where it comes from; what the published figures are */
    uint64_t seed;
    uint32_t clients;
    uint32_t subset;   /* servers that one client knows, drawn at random; 0: all */
    double rate_per_s; /* calls of all clients together */
    bool even;         /* they arrive evenly; else as a Poisson process */
    double duration_s;
    double timeout_ms; /* 0: none */
    double network_us; /* there and back, without the server */
    double series_s;   /* a slice of the series of results; 0: no series */
    uint32_t group_count, event_count, window_count, policy_count;
    sim_group groups[SIM_GROUPS_MAX];
    sim_event events[SIM_EVENTS_MAX];
    sim_window windows[SIM_WINDOWS_MAX]; /* none: one of the whole */
    sim_policy policies[SIM_POLICIES_MAX];
} sim_scenario;

/* Reads a file. False with a message that names the file and the line or setting. */
bool sim_scenario_read(const char *path, sim_scenario *scenario, char *message, uint32_t message_bytes);

#endif
