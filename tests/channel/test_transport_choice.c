/* Which transport a channel gets in a process that was not linked with libevener-grpc. Linked with the shared library
 * only. Each suite runs with another libevener-grpc.so.1 on LD_LIBRARY_PATH (tests/channel/CMakeLists.txt). */
#include <criterion/criterion.h>

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include <evener/channel.h>

/* Create a channel that names `transport` (NULL: none). Return the table of its transport's functions; NULL: it was
 * refused. */
static const evener_transport_vtable *transport_of_channel(const char *transport, evener_status *status)
{
    evener_credentials *insecure = NULL;
    cr_assert_eq(evener_credentials_create_insecure(&insecure, NULL), EVENER_STATUS_OK);
    const evener_channel_options options = {
        .size = sizeof options, .credentials = insecure, .transport_name = transport};
    evener_channel *channel = NULL;
    (void)evener_channel_create("static:127.0.0.1:1", &options, &channel, status);
    evener_credentials_destroy(insecure);
    const evener_transport_vtable *vtable = NULL;
    if (channel != NULL) {
        vtable = evener_channel_transport(channel)->vtable;
        evener_channel_unref(channel);
    }
    return vtable;
}

static void assert_default_is_http2(void)
{
    evener_status status;
    const evener_transport_vtable *http2 = transport_of_channel("http2", &status);
    cr_assert_not_null(http2, "%s", status.message);
    cr_expect_eq(transport_of_channel(NULL, &status), http2, "%s", status.message);
}

static void assert_refused(const char *transport, evener_status_code code, const char *reason)
{
    evener_status status;
    cr_expect_null(transport_of_channel(transport, &status));
    cr_expect_eq(status.code, code, "%s", status.message);
    cr_expect(strstr(status.message, reason) != NULL, "%s", status.message);
}

/* ---- with the library of this build ---- */

Test(transport_choice_installed, http2_is_the_default_and_grpc_is_not_there)
{
    assert_default_is_http2();
    cr_expect_null(evener_transport_find("grpc"));
}

Test(transport_choice_installed, grpc_by_name_loads_the_library_and_changes_no_default)
{
    evener_status status;
    const evener_transport_vtable *grpc = transport_of_channel("grpc", &status);
    cr_assert_not_null(grpc, "%s", status.message);
    cr_expect_neq(grpc, transport_of_channel("http2", &status), "%s", status.message);
    cr_expect_not_null(evener_transport_find("grpc"));
    assert_default_is_http2();
}

Test(transport_choice_installed, grpc_from_the_environment_loads_the_library)
{
    setenv("EVENER_TRANSPORT", "grpc", 1);
    evener_status status;
    const evener_transport_vtable *grpc = transport_of_channel(NULL, &status);
    cr_assert_not_null(grpc, "%s", status.message);
    cr_expect_eq(grpc, transport_of_channel("grpc", &status), "%s", status.message);
}

Test(transport_choice_installed, a_dlopen_of_the_program_registers_grpc_and_changes_no_default)
{
    cr_assert_not_null(dlopen("libevener-grpc.so.1", RTLD_NOW | RTLD_GLOBAL), "%s", dlerror());
    cr_expect_not_null(evener_transport_find("grpc"));
    assert_default_is_http2();
}

static evener_status_code refuse(const evener_transport_args *args, evener_transport **transport, evener_status *status)
{
    (void)args;
    (void)transport;
    return evener_status_set(status, EVENER_STATUS_UNAVAILABLE, "the program's own");
}

static const evener_transport_factory own = {.size = sizeof own, .create = refuse};

Test(transport_choice_installed, a_transport_that_the_program_registered_as_grpc_stays)
{
    cr_assert_eq(evener_transport_register("grpc", &own, NULL), EVENER_STATUS_OK);
    cr_assert_not_null(dlopen("libevener-grpc.so.1", RTLD_NOW | RTLD_LOCAL), "%s", dlerror());
    cr_expect_eq(evener_transport_find("grpc"), &own);
    assert_refused("grpc", EVENER_STATUS_UNAVAILABLE, "the program's own");
}

/* ---- with a file that is no library ---- */

Test(transport_choice_missing, grpc_by_name_names_the_package)
{
    evener_status status;
    cr_expect_null(transport_of_channel("grpc", &status));
    cr_expect_eq(status.code, EVENER_STATUS_FAILED_PRECONDITION);
    cr_expect_str_eq(status.message, "transport \"grpc\" needs the package libevener-grpc");
}

Test(transport_choice_missing, any_other_name_is_an_invalid_argument)
{
    assert_refused("quic", EVENER_STATUS_INVALID_ARGUMENT, "no transport \"quic\" is registered");
    assert_refused("", EVENER_STATUS_INVALID_ARGUMENT, "no transport \"\" is registered");
}

/* ---- with a library that registers nothing, as one of another version ---- */

Test(transport_choice_foreign, grpc_by_name_names_the_version_that_it_needs)
{
    assert_refused("grpc", EVENER_STATUS_FAILED_PRECONDITION, "is of another version");
    assert_default_is_http2();
}
