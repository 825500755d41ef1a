/* What metadata of calls may be. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#include "lb/base/metadata_rules.h"

static bool is_sendable(const char *key, const char *value, size_t value_bytes, const char *reason)
{
    const evener_metadata all[] = {{"x-good", "1", 1}, {key, value, value_bytes}};
    evener_status status;
    evener_status_clear(&status);
    const bool is_good = evener_metadata_check(all, 2, &status);
    cr_expect_eq(status.code, is_good ? EVENER_STATUS_OK : EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect(is_good || strstr(status.message, reason) != NULL, "%s", status.message);
    return is_good;
}

Test(metadata_rules, keys_to_send_are_lower_case_letters_digits_and_three_signs)
{
    for (int c = 1; c < 256; c++) {
        const char alone[] = {(char)c, '\0'}, last[] = {'x', (char)c, '\0'}, first[] = {(char)c, 'x', '\0'};
        const bool is_good = strchr("abcdefghijklmnopqrstuvwxyz0123456789_-.", c) != NULL;
        cr_expect_eq(is_sendable(alone, "1", 1, "keys are"), is_good, "character %d", c);
        cr_expect_eq(is_sendable(last, "1", 1, "keys are"), is_good, "character %d", c);
        cr_expect_eq(is_sendable(first, "1", 1, "keys are"), is_good, "character %d", c);
    }
    cr_expect_not(is_sendable("", "1", 1, "\"\": keys are"));
    cr_expect_not(is_sendable(NULL, "1", 1, "(NULL)"));
    cr_expect(evener_metadata_check(NULL, 0, NULL));
}

Test(metadata_rules, what_a_transport_writes_is_no_key_to_send)
{
    static const char *const reserved[] = {"connection",   "content-length",       "content-type",
                                           "grpc-message", "grpc-accept-encoding", "grpc-encoding",
                                           "grpc-status",  "grpc-timeout",         "grpc-previous-rpc-attempts",
                                           "host",         "keep-alive",           "proxy-connection",
                                           "te",           "transfer-encoding",    "upgrade",
                                           "user-agent"};
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++) {
        char longer[64];
        snprintf(longer, sizeof longer, "%sx", reserved[i]);
        cr_expect_not(is_sendable(reserved[i], "1", 1, "is reserved"), "%s", reserved[i]);
        cr_expect(is_sendable(longer, "1", 1, ""), "%s", longer);
    }
}

Test(metadata_rules, values_to_send_are_printable_and_binary_ones_are_anything)
{
    for (int c = 0; c < 256; c++) {
        const char inside[] = {'a', (char)c, 'b'}, alone[] = {(char)c};
        const bool is_printable = c >= 0x20 && c <= 0x7e;
        cr_expect_eq(is_sendable("x-key", inside, 3, "printable ASCII"), is_printable, "byte %d", c);
        cr_expect_eq(is_sendable("x-key", alone, 1, "printable ASCII"), is_printable && c != ' ', "byte %d", c);
        cr_expect(is_sendable("x-key-bin", inside, 3, ""), "byte %d", c);
    }
    cr_expect_not(is_sendable("x-key", " a", 2, "without spaces"));
    cr_expect_not(is_sendable("x-key", "a ", 2, "without spaces"));
    cr_expect(is_sendable("x-key", "", 0, ""));
    cr_expect(is_sendable("x-key", NULL, 0, ""));
    cr_expect_not(is_sendable("x-key", NULL, 1, "printable ASCII"));
    cr_expect_not(is_sendable("x-key-bin", NULL, 1, "printable ASCII"));
}
