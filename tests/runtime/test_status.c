#include <criterion/criterion.h>
#include <stddef.h>
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

Test(status, a_message_that_is_too_long_loses_its_middle)
{
    char path[3 * EVENER_STATUS_MESSAGE_BYTES];
    memset(path, 'a', sizeof path);
    path[sizeof path - 1] = '\0';
    evener_status status;
    evener_status_set(&status, EVENER_STATUS_UNKNOWN, "file %s: it is empty: write one address per line", path);
    cr_assert_eq(strlen(status.message), EVENER_STATUS_MESSAGE_BYTES - 1);
    cr_assert(strncmp(status.message, "file aaa", 8) == 0, "%s", status.message);
    cr_assert_not_null(strstr(status.message, "aaa ... aaa"), "%s", status.message);
    cr_assert_not_null(strstr(status.message, "aaa: it is empty: write one address per line"), "%s", status.message);
    /* Again, as a prefix of itself. */
    evener_status_set(&status, EVENER_STATUS_UNKNOWN, "resolver: %s", status.message);
    cr_assert_eq(strlen(status.message), EVENER_STATUS_MESSAGE_BYTES - 1);
    cr_assert(strncmp(status.message, "resolver: file aaa", 18) == 0, "%s", status.message);
    cr_assert_not_null(strstr(status.message, "aaa: it is empty: write one address per line"), "%s", status.message);
}

Test(status, a_message_of_the_greatest_length_is_whole)
{
    char text[EVENER_STATUS_MESSAGE_BYTES];
    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = '\0';
    evener_status status;
    evener_status_set(&status, EVENER_STATUS_UNKNOWN, "%s", text);
    cr_assert_str_eq(status.message, text);
}

Test(status, no_character_is_cut_in_two)
{
    for (size_t shift = 0; shift < 4; shift++) {
        char text[1 + 4 * 300];
        evener_status status;
        for (size_t i = 0; i < 300; i++) {
            memcpy(text + 4 * i, "\xf0\x9f\x9a\x80", 4);
        }
        text[sizeof text - 1] = '\0';
        evener_status_set(&status, EVENER_STATUS_UNKNOWN, "%.*s%s", (int)shift, "abc", text);
        const char *cut = strstr(status.message, " ... ");
        cr_assert_not_null(cut);
        cr_assert_eq((size_t)(cut - status.message - (ptrdiff_t)shift) % 4, 0);
        cr_assert_eq(strlen(cut + 5) % 4, 0);
        cr_assert_gt(strlen(status.message), EVENER_STATUS_MESSAGE_BYTES - 8);
    }
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
