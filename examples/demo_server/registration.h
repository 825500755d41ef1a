/* Registration of the demo's servers in etcd, over libevener-etcd. */
#ifndef DEMO_SERVER_REGISTRATION_H
#define DEMO_SERVER_REGISTRATION_H

#include <stdbool.h>
#include <stddef.h>

typedef struct demo_registrations demo_registrations;

/* Where servers are registered: "etcd://10.0.0.1:2379", the service's name, and options ("etcd.layout=kratos"). */
typedef struct demo_registration_options {
    const char *etcd;
    const char *service;
    const char *options[16];
    size_t option_count;
} demo_registration_options;

/* Register a server under "address" from now on; *registrations (NULL at first) holds all. False: printed why not. */
bool demo_register(const demo_registration_options *options, const char *address, demo_registrations **registrations);

/* Remove all. NULL is allowed. */
void demo_unregister(demo_registrations *registrations);

#endif
