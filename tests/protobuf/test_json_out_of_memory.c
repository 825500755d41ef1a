/* Every allocation fails in turn while JSON becomes bytes: the result is the whole message or an error. */
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
                failed++;
            }
        }
    }
    cr_expect_gt(failed, 0, "allocations failed");
    evener_bytes_clear(&whole);
    evener_descriptors_destroy(types);
}
