/* Every allocation fails in turn while JSON becomes bytes, or bytes JSON: the result is the whole message or an
 * error. */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include <evener/json.h>

#include "tests/protobuf/types.h"
#include "tests/support/failing_memory.h"

/* Keys so long that the scratch text has to grow for them, and no text behind them. */
#define LONG "long long long long long long long long long long long long long long long long long long long long long "
#define LONGER LONG LONG LONG LONG LONG LONG LONG LONG LONG LONG
#define JSON "{\"messageMap\":{\"" LONG "\\n\":{}},\"structure\":{\"" LONGER "\\n\":1}}"

Test(json_out_of_memory, gives_no_other_content)
{
    evener_descriptors *types = types_read();
    const evener_message_type *everything = evener_descriptors_message(types, "evener.test.Everything");
    evener_bytes whole = {0}, bytes = {0};
    evener_status status;
    cr_assert_eq(evener_json_to_bytes(everything, JSON, strlen(JSON), NULL, &whole, &status), EVENER_STATUS_OK, "%s",
                 status.message);
    uint64_t failed = 0;
    for (int for_good = 0; for_good < 2; for_good++) {
        bool done = false;
        for (uint64_t i = 1; !done; i++) {
            failing_memory_arm(i, for_good != 0);
            const evener_status_code code = evener_json_to_bytes(everything, JSON, strlen(JSON), NULL, &bytes, &status);
            done = failing_memory_disarm() < i;
            if (code == EVENER_STATUS_OK) {
                cr_expect(bytes.length == whole.length && memcmp(bytes.data, whole.data, whole.length) == 0,
                          "allocation %u: other content", (unsigned)i);
                evener_bytes_clear(&bytes);
            } else {
                cr_expect_eq(code, EVENER_STATUS_RESOURCE_EXHAUSTED, "allocation %u: %s", (unsigned)i, status.message);
                cr_expect_str_eq(status.message, "out of memory", "allocation %u", (unsigned)i);
                failed++;
            }
        }
    }
    cr_expect_gt(failed, 0, "allocations failed");
    evener_bytes_clear(&whole);
    evener_descriptors_destroy(types);
}

/* A message in two pieces, a map, a mask and more fields than there is room for at first. */
#define NESTED                                                                                                         \
    "{\"nested\":{\"stringMap\":{\"a\":\"1\",\"b\":\"2\"},\"mask\":\"aB,c\",\"any\":{\"@type\":"                       \
    "\"x/evener.test.Everything\",\"aBool\":true}}}"

Test(json_out_of_memory, gives_no_other_text)
{
    evener_descriptors *types = types_read();
    const evener_message_type *everything = evener_descriptors_message(types, "evener.test.Everything");
    evener_bytes piece;
    evener_status status;
    char *whole = NULL, *text = NULL;
    cr_assert_eq(evener_json_to_bytes(everything, NESTED, strlen(NESTED), NULL, &piece, &status), EVENER_STATUS_OK,
                 "%s", status.message);
    static uint8_t both[1024];
    size_t length = 0;
    for (int i = 0; i < 2; i++, length += piece.length) {
        cr_assert_leq(length + piece.length, sizeof both);
        memcpy(both + length, piece.data, piece.length);
    }
    for (int i = 0; i < 100; i++, length += 3) { /* strings (29): more than 64 occurrences */
        cr_assert_leq(length + 3, sizeof both);
        memcpy(both + length, "\xea\x01\x00", 3);
    }
    const evener_bytes bytes = {.data = both, .length = length};
    cr_assert_eq(evener_json_from_bytes(everything, &bytes, NULL, &whole, NULL, &status), EVENER_STATUS_OK, "%s",
                 status.message);
    uint64_t failed = 0;
    for (int for_good = 0; for_good < 2; for_good++) {
        bool done = false;
        for (uint64_t i = 1; !done; i++) {
            failing_memory_arm(i, for_good != 0);
            const evener_status_code code = evener_json_from_bytes(everything, &bytes, NULL, &text, NULL, &status);
            done = failing_memory_disarm() < i;
            if (code == EVENER_STATUS_OK) {
                cr_expect_str_eq(text, whole, "allocation %u", (unsigned)i);
                free(text);
            } else {
                cr_expect_eq(code, EVENER_STATUS_RESOURCE_EXHAUSTED, "allocation %u: %s", (unsigned)i, status.message);
                cr_expect_str_eq(status.message, "out of memory", "allocation %u", (unsigned)i);
                failed++;
            }
        }
    }
    cr_expect_gt(failed, 5, "allocations failed");
    free(whole);
    evener_bytes_clear(&piece);
    evener_descriptors_destroy(types);
}
