#include <criterion/criterion.h>
#include <string.h>

#include <evener/connectivity.h>
#include <evener/status.h>

Test(status, set_fills_code_and_message_and_returns_the_code)
{
    evener_status status;
    const evener_status_code code = evener_status_set(&status, EVENER_STATUS_UNAVAILABLE, "%s: %d", "10.0.0.1", 7);
    cr_assert_eq(code, EVENER_STATUS_UNAVAILABLE);
    cr_assert_eq(status.code, EVENER_STATUS_UNAVAILABLE);
    cr_assert_str_eq(status.message, "10.0.0.1: 7");
}

Test(status, set_and_clear_accept_null)
{
    cr_assert_eq(evener_status_set(NULL, EVENER_STATUS_INTERNAL, "lost"), EVENER_STATUS_INTERNAL);
    cr_assert_eq(evener_status_clear(NULL), EVENER_STATUS_OK);
}

Test(status, set_may_prefix_its_own_message)
{
    evener_status status;
    evener_status_set(&status, EVENER_STATUS_NOT_FOUND, "no such name");
    evener_status_set(&status, status.code, "dns: %s", status.message);
    cr_assert_eq(status.code, EVENER_STATUS_NOT_FOUND);
    cr_assert_str_eq(status.message, "dns: no such name");
}

Test(status, a_message_that_is_too_long_is_cut_at_its_end)
{
    char text[2 * EVENER_STATUS_MESSAGE_BYTES];
    memset(text, 'a', sizeof(text));
    text[0] = 'b';
    text[sizeof(text) - 1] = '\0';
    evener_status status;
    evener_status_set(&status, EVENER_STATUS_UNKNOWN, "%s", text);
    cr_assert_eq(strlen(status.message), EVENER_STATUS_MESSAGE_BYTES - 1);
    cr_assert_eq(strncmp(status.message, text, EVENER_STATUS_MESSAGE_BYTES - 1), 0);
}

Test(status, clear_makes_it_ok)
{
    evener_status status;
    evener_status_set(&status, EVENER_STATUS_ABORTED, "x");
    cr_assert_eq(evener_status_clear(&status), EVENER_STATUS_OK);
    cr_assert_eq(status.code, EVENER_STATUS_OK);
    cr_assert_str_eq(status.message, "");
}

/* grpc: doc/statuscodes.md */
Test(status, every_code_has_grpc_s_name)
{
    static const char *const names[] = {
        "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
        "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
        "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
        "DATA_LOSS", "UNAUTHENTICATED"};
    for (int code = 0; code <= 16; code++) {
        cr_assert_str_eq(evener_status_code_name((evener_status_code)code), names[code]);
    }
    cr_assert_str_eq(evener_status_code_name((evener_status_code)17), "UNKNOWN");
    cr_assert_str_eq(evener_status_code_name((evener_status_code)-1), "UNKNOWN");
}

/* grpc: doc/connectivity-semantics-and-api.md */
Test(connectivity, every_state_has_grpc_s_name)
{
    cr_assert_str_eq(evener_connectivity_state_name(EVENER_IDLE), "IDLE");
    cr_assert_str_eq(evener_connectivity_state_name(EVENER_CONNECTING), "CONNECTING");
    cr_assert_str_eq(evener_connectivity_state_name(EVENER_READY), "READY");
    cr_assert_str_eq(evener_connectivity_state_name(EVENER_TRANSIENT_FAILURE), "TRANSIENT_FAILURE");
    cr_assert_str_eq(evener_connectivity_state_name(EVENER_SHUTDOWN), "SHUTDOWN");
    cr_assert_str_eq(evener_connectivity_state_name((evener_connectivity_state)5), "?");
}
