/* The HTTP/2 transport without memory: each allocation fails in turn. */
#include <criterion/criterion.h>

#include <string.h>

#include "lb/transport/http2/compression.h"
#include "tests/support/failing_memory.h"

static const uint8_t kinds[] = {EVENER_COMPRESSION_GZIP, EVENER_COMPRESSION_DEFLATE};
static const uint8_t zeros[2000];
static const evener_bytes whole = {.data = zeros, .length = sizeof zeros};

/* A message that cannot be compressed is sent as it is. */
Test(http2_out_of_memory, a_message_is_not_compressed)
{
    for (size_t i = 0; i < sizeof kinds; i++) {
        bool is_smaller = false;
        uint64_t fail_at = 0;
        while (!is_smaller) {
            evener_bytes small = {.length = 77};
            failing_memory_arm(++fail_at, false);
            is_smaller = evener_http2_compress(kinds[i], &whole, &small);
            (void)failing_memory_disarm();
            cr_assert(is_smaller || (small.data == NULL && small.length == 77), "untouched");
            cr_assert(!is_smaller || small.length < sizeof zeros);
            if (is_smaller) {
                evener_bytes_clear(&small);
            }
        }
        cr_expect_geq(fail_at, 3, "two allocations have failed");
    }
}

Test(http2_out_of_memory, a_message_is_not_decompressed_and_says_why)
{
    for (size_t i = 0; i < sizeof kinds; i++) {
        evener_bytes small;
        cr_assert(evener_http2_compress(kinds[i], &whole, &small));
        evener_status_code code = EVENER_STATUS_RESOURCE_EXHAUSTED;
        uint64_t fail_at = 0;
        while (code != EVENER_STATUS_OK) {
            evener_bytes back = {.length = 77};
            failing_memory_arm(++fail_at, false);
            code = evener_http2_decompress(kinds[i], &small, sizeof zeros, &back);
            (void)failing_memory_disarm();
            cr_assert(code == EVENER_STATUS_OK || code == EVENER_STATUS_RESOURCE_EXHAUSTED, "%d", (int)code);
            if (code == EVENER_STATUS_OK) {
                cr_assert(back.length == sizeof zeros && memcmp(back.data, zeros, sizeof zeros) == 0);
                evener_bytes_clear(&back);
            } else {
                cr_assert(back.data == NULL && back.length == 77, "untouched");
            }
        }
        cr_expect_geq(fail_at, 3, "two allocations have failed");
        evener_bytes_clear(&small);
    }
}
