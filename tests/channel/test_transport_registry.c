/* Transports by name (evener/transport.h): who registers, who is found, what is refused. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#include <evener/transport.h>

#include "lb/backend/transport_choice.h"

static evener_status_code refuse(const evener_transport_args *args, evener_transport **transport, evener_status *status)
{
    (void)args;
    (void)transport;
    return evener_status_set(status, EVENER_STATUS_UNAVAILABLE, "a test's factory");
}

static const evener_transport_factory first = {.size = sizeof first, .create = refuse};
static const evener_transport_factory second = {.size = sizeof second, .create = refuse};

/* This program is linked with libevener-grpc. */
Test(transport_registry, the_core_is_there_from_the_start_and_the_default)
{
    const evener_transport_factory *grpc = evener_transport_find("grpc");
    cr_assert_not_null(grpc);
    cr_expect_not_null(grpc->create);
    cr_expect_str_eq(evener_transport_default(), "grpc");
}

Test(transport_registry, what_nobody_registered_is_not_found)
{
    cr_expect_null(evener_transport_find("quic"));
    cr_expect_null(evener_transport_find(""));
    cr_expect_null(evener_transport_find(NULL));
}

Test(transport_registry, one_that_is_registered_is_found_and_may_be_replaced)
{
    evener_status status;
    cr_expect_eq(evener_transport_register("mine", &first, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_expect_eq(evener_transport_find("mine"), &first);
    cr_expect_eq(evener_transport_register("mine", &second, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_expect_eq(evener_transport_find("mine"), &second);
}

static void refused(const char *name, const evener_transport_factory *factory, const char *reason)
{
    evener_status status;
    cr_expect_eq(evener_transport_register(name, factory, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect(strstr(status.message, reason) != NULL, "%s", status.message);
}

Test(transport_registry, a_factory_that_cannot_serve_is_refused_with_the_reason)
{
    const evener_transport_factory no_size = {.create = refuse};
    const evener_transport_factory no_create = {.size = sizeof no_create};
    refused(NULL, &first, "a name is needed");
    refused("", &first, "a name is needed");
    refused("nobody", NULL, "\"nobody\"");
    refused("no_size", &no_size, "its size");
    refused("no_create", &no_create, "create function");
    cr_expect_null(evener_transport_find("nobody"));
    cr_expect_null(evener_transport_find("no_create"));
}

Test(transport_registry, a_full_registry_says_so_and_keeps_what_it_has)
{
    static char names[64][8];
    evener_status status;
    evener_status_code code = EVENER_STATUS_OK;
    size_t count = 0;
    while (count < 64 && code == EVENER_STATUS_OK) {
        snprintf(names[count], sizeof names[count], "t%zu", count);
        code = evener_transport_register(names[count], &first, &status);
        count++;
    }
    cr_assert_eq(code, EVENER_STATUS_RESOURCE_EXHAUSTED);
    cr_expect(strstr(status.message, names[count - 1]) != NULL, "%s", status.message);
    cr_expect_null(evener_transport_find(names[count - 1]));
    cr_expect_eq(evener_transport_find("t0"), &first);
    cr_expect_not_null(evener_transport_find("grpc"));
}
