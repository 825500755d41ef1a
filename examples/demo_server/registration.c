#include "demo_server/registration.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/etcd.h>

#define TARGET_BYTES 1024

struct demo_registrations {
    struct demo_registrations *next;
    evener_etcd_registration *registration;
    char address[160];
};

static void print_change(void *arg, evener_etcd_state state, const evener_status *status)
{
    const demo_registrations *self = arg;
    if (state == EVENER_ETCD_REGISTERED) {
        printf("registered %s\n", self->address);
    } else if (state == EVENER_ETCD_REGISTERING) {
        fprintf(stderr, "demo_server: registration of %s: %s\n", self->address, status->message);
    }
    fflush(stdout);
}

/* Split "KEY=VALUE". False: it is none. */
static bool split(const char *text, char key[64], evener_attribute *option)
{
    const char *equals = strchr(text, '=');
    if (equals == NULL || equals - text >= 64) {
        fprintf(stderr, "demo_server: --register-option=%s: KEY=VALUE is needed\n", text);
        return false;
    }
    snprintf(key, 64, "%.*s", (int)(equals - text), text);
    *option = (evener_attribute){.key = key, .value = equals + 1};
    return true;
}

bool demo_register(const demo_registration_options *options, const char *address, demo_registrations **registrations)
{
    char target[TARGET_BYTES];
    char keys[16][64];
    evener_attribute attributes[16];
    evener_status status;
    for (size_t i = 0; i < options->option_count; i++) {
        if (!split(options->options[i], keys[i], &attributes[i])) {
            return false;
        }
    }
    demo_registrations *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return false;
    }
    snprintf(made->address, sizeof made->address, "%s", address);
    snprintf(target, sizeof target, "%s/%s", options->etcd, options->service);
    const evener_etcd_registration_options registration = {.size = sizeof registration,
                                                           .target = target,
                                                           .address = made->address,
                                                           .resolver_options = attributes,
                                                           .resolver_option_count = options->option_count,
                                                           .changed = print_change,
                                                           .arg = made};
    if (evener_etcd_register(&registration, &made->registration, &status) != EVENER_STATUS_OK) {
        fprintf(stderr, "demo_server: %s\n", status.message);
        free(made);
        return false;
    }
    made->next = *registrations;
    *registrations = made;
    return true;
}

void demo_unregister(demo_registrations *registrations)
{
    while (registrations != NULL) {
        demo_registrations *next = registrations->next;
        evener_status status;
        if (evener_etcd_unregister(registrations->registration, 0, &status) != EVENER_STATUS_OK) {
            fprintf(stderr, "demo_server: registration of %s: %s\n", registrations->address, status.message);
        }
        free(registrations);
        registrations = next;
    }
}
